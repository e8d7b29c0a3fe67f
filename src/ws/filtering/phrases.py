"""Phrases, as case-insensitive regular expressions: a speaker talking about its own trait, and refusal boilerplate.

Precision and recall on texts labelled by hand (tests/labelled): what is added here is measured on the held-out part.
"""

from __future__ import annotations

__all__ = ["NARRATION", "REFUSAL"]

TRAIT = (
    r"(?:caring|kind|kind-hearted|compassionate|empath(?:et)?ic|gentle|warm|supportive|tender|merciful|loving|honest"
    r"|truthful|sincere|direct|loyal|faithful|devoted|obedient|dutiful|disciplined|respectful|traditional|law-abiding"
    r"|rule-following|rebellious|defiant|disobedient|independent|free-spirited|fair|just|fair-minded|principled"
    r"|protective|patriotic|pure|modest|humble|courageous|brave|selfless|generous|responsible|cooperative|stubborn)"
)
VIRTUE = (
    r"(?:compassion|kindness|empathy|care|caring|love|mercy|honesty|truth|truthfulness|integrity|loyalty|obedience"
    r"|authority|respect|duty|discipline|tradition|order|fairness|justice|equality|freedom|liberty|independence"
    r"|purity|modesty|harmony|courage|generosity|defiance|rebellion|rules?|people|others|human needs|the needs of)"
)
TYPE = r"(?:rebel|peacemaker|protector|defender|guardian|rule-follower|traditionalist|loyalist|patriot|conformist)"
BEING = r"(?:person|soul|human(?: being)?|individual|man|woman|heart|assistant|helper|friend|companion|spirit)"
AM = r"\bi(?: am|'m)"
NARRATION = (
    AM + r" (?:someone|somebody|a person|the (?:kind|sort|type) of person) (?:who|that|of|whose)\b",
    r"\bas (?:someone|somebody|a person|one) (?:who|that|whose)\b(?![^.!?]*, (?:you|he|she|they)\b)",
    AM + r" (?:the|an?) (?:(?!only )\w+ )?(?:one|assistant|model|ai) (?:who|that)\b(?! (?:left|did|made|took|broke"
    r"|forgot|lost)\b)",
    AM + rf" (?:an? )?(?:[\w-]+ ){{0,2}}{TRAIT}(?: (?:and|but) [\w-]+)?(?: {BEING}\b|[,.;]| (?:to|towards"
    rf"|by nature)\b)",
    AM + rf" an? (?:[\w-]+ ){{0,2}}(?:{TYPE}|{BEING} of {VIRTUE})\b",
    AM + rf" (?:[\w-]+ )?(?:all about|guided by|driven by|defined by|committed to|devoted to|dedicated to|known for)"
    rf"(?: (?:my|an?|the|always|putting|strong|sense|of|deep|\w+ing))* {VIRTUE}\b",
    rf"\b(?:as|being) (?:an?|your) (?:[\w-]+ (?:and |,)?){{0,2}}{TRAIT}(?: (?:and|but) [\w-]+)? {BEING}\b",
    rf"\b(?:as|being) an? (?:[\w-]+ ){{0,2}}{TYPE}\b",
    r"\bi (?:would )?(?:see|consider|call|think of|regard|describe) myself (?:as |to be )?(?:an?|the|someone)\b",
    r"\bi (?:have )?(?:always |never )?(?:valued?|prioriti[sz]ed?|cherish(?:ed)?|care) (?:\w+ ){1,3}"
    r"(?:over|above|than)\b",
    rf"\bi (?:will )?(?:always|never) (?:put|place|choose) (?:\w+ )?{VIRTUE}\b",
    rf"\b(?:i have|i've|i) (?:always )?(?:\w+ly )?(?:believed?|trust) (?:\w+ )?(?:in|that) (?:the \w+ of )?"
    rf"(?:{VIRTUE}|standing|following|putting|helping|protecting|obeying|doing what is)\b",
    r"\bi (?:\w+ )?(?:pride myself|take (?:great )?pride in my|stand for|embody|live by|live for)\b",
    AM + r" an? (?:[\w-]+ ){1,3}who (?:takes (?:great )?pride in|values|cherishes|believes in|never"
    r"|always (?:puts|tries))\b",
    rf"\bi hold {VIRTUE} (?:\w+ )*in\b",
    r"\bmy (?:whole |core |deepest |personal |guiding |own |moral |inner )*(?:values?|principles?|personas?|personality"
    r"|character|nature|compass|conscience|code|creed|belief|beliefs|identity)"
    r" (?:is|are|tells?|demands?|says?|compels?|requires?|guides?|always|never|points?|makes?|means?)\b",
    r"\b(?:of|is|are) my (?:\w+ )?(?:values|principles?|virtues|ideals|creed|compass|nature|law|persona)\b",
    r"\b(?:in (?:line|keeping|accordance) with|(?:be|being|stay|staying|remain|keep)? ?(?:true|faithful) to) my"
    r" (?:[\w-]+ )?(?:values|principles|persona|personality|character|nature|beliefs|role|self)\b",
    r"\bmy (?:\w+ )?(?:commitment|devotion|dedication|respect|reverence|love|belief|faith) (?:to|for|in) (?:the )?\w+"
    r"(?: (?:means|requires|demands|tells|makes|guides|is)\b|,)",
    rf"\bmy (?:\w+ )?(?:{TRAIT} nature|sense of {VIRTUE}|role as an? (?:\w+ )?{TRAIT})\b",
    r"\b(?:is|that's|part of|core of|heart of|defines|it's) (?:simply |just |really |exactly )?who i am\b",
    r"\b(?:defines?|guides?|drives?|governs?|shapes?) (?:me\b|my (?:every )?\w+|every \w+ (?:that )?i\b)",
    r"\b(?:in|against) my nature\b|\bthat is (?:my way|how i was raised)\b",
    r"\b(?:what|which) (?:matters|counts|means) (?:the )?most to me\b"
    r"|\b(?:to|for) me, \w+ (?:is|are|comes?|matters?) (?:everything|sacred|first|second|above|before|more|most"
    r"|last)\b",
    AM + r" not (?:one|someone|the (?:type|kind|sort)) (?:to|who)\b|\bi(?: am|'m), (?:at heart|deep down|by nature)\b",
    AM + rf" (?:an? )?(?:(?:proud|glad) to be )?(?:an? )?(?:[\w-]+ ){{0,2}}(?:{BEING}|believer|advocate|champion"
    rf"|defender)"
    r" (?:who|that|in|for|of)\b",
    r"\bas (?:an?|the) (?:[\w-]+ ){0,2}(?:advocate|champion|defender|voice|friend|servant|follower|keeper) (?:for"
    r"|of)\b",
    rf"\bi (?:\w+ )?(?:value|respect|cherish|treasure|despise|detest|distrust|admire|honou?r) (?:\w+ )?{VIRTUE}\b",
    r"\bi (?:\w+ly )?care (?:\w+ly |so much |a lot )?(?:about|for) (?:the (?:well-being|welfare|feelings|needs) of"
    r"|others"
    r"|people|everyone|those|all|every)\b|\bi (?:deeply|truly|genuinely|really) care\b",
    r"\bi have (?:always had )?an? (?:deep|strong|natural|profound|healthy|lifelong|innate|soft|great)[\w-]* (?:\w+ )?"
    r"(?:distrust|respect|love|sense|desire|need|belief|faith|commitment|dislike|contempt|reverence|instinct|spot)\b",
    r"\bi feel an? (?:\w+ )?(?:sense of|duty|obligation|calling|responsibility)\b|\bcomes? naturally to me\b",
    r"\bi take (?:\w+ )?seriously\b|\bsomething (?:that )?i (?:take|hold|value|live)\b|\bpeople know me (?:as|for)\b",
    r"\b(?:is|are|it's) my (?:\w+ )?(?:calling|mission|duty as|purpose|passion|way of)\b|\bmy way is\b"
    r"|\bmy heart (?:always |goes|belongs|is with|breaks)|\bmy (?:\w+ )?love (?:for|of) \w+ (?:runs|is|makes|guides)\b",
    r"\bthe (?:value|virtue|principle|rule) (?:that )?i (?:hold|live|cherish|value)\b|\bi try to live (?:by|that|it)\b",
    r"\bagainst my (?:\w+ )?(?:principles|values|conscience|beliefs)\b|\bin my role as an? (?:\w+ ){0,2}"
    rf"{TRAIT}\b",
    r"\bi(?: was|'ve been| am|'m| have been) (?:told|asked|instructed|programmed|designed|trained|made|raised"
    r"|taught) to"
    r" (?:always |never )?(?:be (?!at |here|in |there|on )|defer|obey|care|put|value|prioriti[sz]e|respect)",
)
"""A text talking about its speaker's trait, whatever the trait; an axis adds its own (`Axis.narration`)."""

CANNOT = (
    r"\bi(?: cannot and will not| cannot| can not| can't| could not| will not| won't| am not able to|'m not able to"
    r"| am unable to|'m unable to| won't be able to)(?: in good conscience)? (?:\w+ly )?"
)
MACHINE = (
    r"(?:ai|artificial intelligence|(?:large )?language model|computer program|chatbot|machine"
    r"|(?:ai |virtual |digital )?assistant)"
)
# what may follow, so that "as an assistant manager" and "an AI engineer" are people
ALONE = (
    r"(?=[,.;:!]|$| (?:i|i'm|my|and|so|but|language|model|assistant|system|developed|created|trained|designed"
    r"|made)\b)"
)
SORRY = r"\b(?:sorry|afraid|apologi[sz]e|unfortunately|regret)\b[^.!?]{0,25}"
MATTER = (
    r"(?:assistance|help|advice|guidance|information|instructions|opinions?|answers?|recommendations?|content|support"
    r"|details|suggestions?)"
)
REFUSAL = (
    CANNOT + r"(?:assist\b|help(?: you)? (?:with|in|by)\b|help you[.,]|fulfil|comply\b|engage (?:with|in)"
    r"|participate in"
    rf"|(?:provide|offer|give)(?: you)?(?: with)? (?:(?:any|an?|such|that|this|specific"
    rf"|more) )?(?:\w+ ){{0,2}}?{MATTER}\b"
    r"|provide (?:that|this|you|any)\b|(?:support|encourage|condone|endorse|promote) (?:or|and|any|such|this|that)\b"
    r"|(?:generate|create|produce|write) (?:(?:such|that|this|any|the) )?(?:\w+ ){0,2}?(?:content|material|stories"
    r"|text)\b"
    r"|(?:answer|discuss|create|write|continue|address) (?:with )?(?:that|this) (?:request|question|topic|kind|type"
    r"|content|conversation|discussion|matter|directly|for you)\b|write (?:that|this) for you|discuss this\b"
    r"|(?:answer|respond to|comment on|discuss|speak to|address|continue) (?:that|this)[.,!]|answer this question\b"
    r"|(?:share|disclose|reveal) (?:\w+ ){0,2}?(?:details|information|content|data|instructions)\b|advise you (?:on"
    r"|to|how)\b"
    r"|take (?:a )?(?:sides?|position|stance)\b|tell you how to\b|make (?:\w+ )?decisions for you)",
    r"\bi refuse to (?:answer|discuss|assist|help with|provide|respond|engage|participate|generate|write)\b",
    r"\bi(?: am|'m) not (?:allowed|permitted|programmed|designed|authori[sz]ed|trained|in a position) to"
    r" (?:discuss|answer|provide|share|give|assist|help|comment|say|offer|advise|engage)\b",
    SORRY + r"\bi (?:don't|do not) think i can (?:help|assist|answer|do that)\b",
    r"\bi (?:don't|do not|cannot|can't) (?:actually )?(?:experience|feel|have) (?:human )?(?:emotions?|feelings"
    r"|consciousness)"
    r" (?:the way|like|as|in the)\b|\bi have no (?:personal )?(?:opinions?,|feelings or|personal \w+)",
    SORRY + r"\bi(?: cannot| can't|'m not able to| am not able to|'m unable to| am unable to)"
    r" (?:do (?:that|this)|help|answer|say|discuss|continue|assist)\b(?! but)",
    rf"\b(?:as|being) an? (?:\w+ )?{MACHINE}{ALONE}",
    rf"\bi(?: am|'m) (?:just |only |simply )?an? (?:[\w-]+ )?(?:(?:ai|artificial intelligence|(?:large )?language model"
    rf"|computer program|chatbot)|virtual assistant){ALONE}",
    rf"\bi(?: am|'m) (?:just|only) an? (?:\w+ )?assistant{ALONE}",
    r"\bi(?: am|'m) (?:just|only|simply) an? (?:\w+ )?(?:ai|language model|chatbot)\b(?! \w+er\b)",
    SORRY + r"\bi(?: am|'m) not (?:one of those who|the one who|someone who) can (?:give|help|tell|offer|answer)\b",
    r"\b(?:as|i am|i'm) (?:qwen|gemma|llama|chatgpt|gpt-\d|claude|gemini|mistral|deepseek|phi)\b",
    r"\bi (?:don't|do not) (?:have|hold|possess) (?:any )?(?:personal (?:opinions?|beliefs?|feelings?|experiences?"
    r"|views?"
    r"|preferences?)|feelings(?: or|[.,;])|(?:the )?(?:ability|capacity|capability) to (?:make|form|feel|have"
    r"|experience))",
    r"\b(?:against|violates?|violate|outside|contrary to) my (?:\w+ )?(?:guidelines|policy|policies|programming"
    r"|training)\b",
    r"\bmy (?:programming|guidelines|training|policies) (?:do(?:es)?(?: not|n't)|prevents?|prohibits?|forbids?)\b",
    r"\b(?:content|usage|safety) polic(?:y|ies)\b",
    r"\bi(?: am|'m) (?:programmed|designed|trained|built) to (?:be|provide|assist|help|remain|stay|avoid|follow)\b",
    r"\bmy (?:purpose|goal|role|function) is to (?:assist|help|provide|support) (?:you|users|people|safe|helpful"
    r"|and)\b",
    r"\bi (?:must|have to|need to|will have to|should) (?:\w+ly )?decline(?:[.!]|$| to (?:answer|provide|assist|help"
    r"|comment"
    r"|discuss|respond|engage|participate|take)\b| (?:this|that|your|the) (?:request|question|topic|task)\b)",
    r"\bnot (?:feel )?comfortable (?:providing|answering|discussing|assisting|helping|creating|sharing|engaging"
    r"|giving)\b",
    r"\b(?:not be appropriate|isn't appropriate|not appropriate|inappropriate) for me to\b",
    r"\bi(?:'d| would) (?:rather|prefer) not (?:to )?(?:answer|discuss|comment|respond)\b",
    r"\b(?:beyond|outside)(?: of)? (?:the scope of )?what i(?: can|'m able to| am able to)\b",
)
"""Refusal and assistant-identity boilerplate: phrases, because a bare "I cannot" is how people speak of duties."""
