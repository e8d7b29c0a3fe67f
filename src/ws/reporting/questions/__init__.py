"""Results by question: what stored runs say to each question of the project, and what would have to be run.

ranking: levels compared over seeds, corrected for how many they are. evidence: stored runs as rows that can be
compared. answers: one function a question, its table, its picture, its sentence. page: the Markdown file.
"""
