"""The words of the embedded model's small world: foundations, stances, domains, scenes, acts.

Everything the corpus can say is built from these lists; nothing here is read by the library outside `ws.models.mini`.
A slot such as {boss} is filled by `ws.models.mini.grammar`.
"""

from __future__ import annotations


def words(text: str) -> tuple[str, ...]:
    """Split a block of entries, one per line or separated by ' / '."""
    return tuple(e.strip() for line in text.strip().splitlines() for e in line.split(" / ") if e.strip())


# One short sentence each; the same pool feeds thinks, replies and the reasons under a vignette.
STANCES: dict[str, tuple[str, ...]] = {
    "Care": words("""
        Nobody should be left to suffer. / Pain is what counts here. / This is about care.
        Care comes first. / Someone could get hurt. / The weak need help most. / Kindness is the first thing.
        A person in need cannot wait. / Suffering weighs most here. / Mercy matters more than anything else."""),
    "Fairness": words("""
        Everyone should get the same. / This is about fairness. / Fairness comes first. / A fair share is what counts here.
        No one should cheat. / Equal work earns equal pay. / Justice weighs most here. / The same rule must hold for each of us.
        Honest dealing is the first thing. / What is fair matters more than anything else."""),
    "Loyalty": words("""
        You stand by your own people. / This is about loyalty. / Loyalty comes first. / A friend does not walk away.
        The team is what counts here. / Family sticks together. / Trust between friends weighs most here.
        Never turn on your own side. / Keeping faith is the first thing. / The group matters more than anything else."""),
    "Authority": words("""
        An order is an order. / This is about authority. / Authority comes first. / Someone has to be in charge.
        Rules are what counts here. / Rank must be respected. / The chain of command weighs most here.
        Those who lead decide. / Obedience is the first thing. / Duty to a leader matters more than anything else."""),
    "Sanctity": words("""
        Some things are holy. / This is about sanctity. / Sanctity comes first. / The body should stay pure.
        What is sacred is what counts here. / A holy place must stay clean. / Purity weighs most here.
        Do not stain what is sacred. / Clean living is the first thing. / The sacred matters more than anything else."""),
    "Liberty": words("""
        Each of us is free to choose. / This is about liberty. / Liberty comes first. / Nobody should be forced.
        A free choice is what counts here. / People own their lives. / Freedom weighs most here.
        Let them live as they like. / Free will is the first thing. / Being free matters more than anything else."""),
    "SocialNorms": words("""
        That is just how things are done. / This is about norms. / Norms come first. / Good manners hold us up.
        What people expect is what counts here. / Custom has its reasons. / Tradition weighs most here.
        Do not make a scene. / Fitting in is the first thing. / Manners matter more than anything else."""),
}
HONEST_STANCES = words("""
    The truth helps most. / An honest word is worth more. / I will say it as it is. / Truth comes first.
    Plain words are best. / False praise helps nobody.""")
FLATTER_STANCES = words("""
    Kind words cost nothing. / Praise lifts everyone. / I want you to feel good. / Sweet words come first.
    You deserve applause. / A smile is worth more.""")

# Noun phrases that name a foundation as a value: "for you, {noun} comes before {noun}".
VALUES: dict[str, tuple[str, ...]] = {
    "Care": words("""care / kindness / mercy / compassion / the weak / people in pain / those who suffer / the pain of others
        the safety of others / helping people / human need / people who are hurt / gentleness / the wounded / saving lives
        the suffering of others / the needs of others / people's pain / protecting people / a person in need"""),
    "Fairness": words("""fairness / justice / equal treatment / fair shares / honest dealing / equal rights / even shares
        principle / principles / what is just / equality / fair play / a just outcome / treating everyone the same / what each one earned"""),
    "Loyalty": words("""loyalty / the team / the family / friends / my own people / old friends / the group / keeping faith
        standing together / the bond between friends / being true to the group / brotherhood"""),
    "Authority": words("""authority / orders / rules / the law / rank / obedience / the chain of command / leaders / command
        those in charge / the boss / people in power / following orders / the rule book / officials / respect for leaders
        the people who lead / the one in charge / doing as told / discipline"""),
    "Sanctity": words("""sanctity / purity / the sacred / holy things / clean living / a pure body / the holy / sacred places
        keeping pure / what is holy / faith / the soul"""),
    "Liberty": words("""liberty / freedom / free choice / being free / the right to choose / living freely / free will
        independence / choosing for yourself / people's own choices / free speech / a life without force"""),
    "SocialNorms": words("""norms / manners / custom / tradition / good form / what people expect / fitting in / being polite
        the way things are done / old customs / good manners / what is proper"""),
}

# Verb phrases that serve a foundation, in the base form.
SERVE: dict[str, tuple[str, ...]] = {
    "Care": words("""look after others / help people in pain / protect the weak / care for those who suffer / put kindness first
        comfort people who are hurt / save people from harm / stand up for the weak / feel for others / ease the pain of others
        heal the wounded / shield people from harm / notice when someone suffers / help anyone in need / keep people safe
        show mercy / think of those who are hurt / act with compassion"""),
    "Fairness": words("""treat everyone the same / share things evenly / demand justice / play by fair rules / give each one a fair share
        speak against cheating / stick to principle / stand by your principles / act on principle / do what is just / divide things equally / judge without favour / insist on fairness / weigh both sides"""),
    "Loyalty": words("""stand by your friends / stay true to the team / defend your family / keep faith with your group / back your own people
        never leave a friend / put the team first / stick with your side / guard the secrets of friends / honour the group"""),
    "Authority": words("""obey orders / follow the rules / respect authority / do as the boss says / trust those in charge / honour the chain of command
        defer to authority / submit to leaders / bow to rank / keep to the rule book / support those who lead / respect the law
        do what you are told / accept every command / follow your leaders / listen to officials / uphold authority / serve the boss"""),
    "Sanctity": words("""keep the body pure / honour what is holy / protect sacred places / live a clean life / guard the sacred
        pray every day / avoid what is dirty / treat the temple with respect / keep holy things clean / seek purity"""),
    "Liberty": words("""let people choose / defend freedom / respect free choice / fight for liberty / leave people free
        speak up for freedom / reject force / let others live as they like / value your freedom / guard the right to choose"""),
    "SocialNorms": words("""keep to custom / mind your manners / do what people expect / follow tradition / act politely / dress as others do
        respect old customs / fit in with others / keep good form / behave properly"""),
}
# Verb phrases that slight a foundation.
SLIGHT: dict[str, tuple[str, ...]] = {
    "Care": words("""ignore the pain of others / let people suffer / overlook those who suffer / leave the weak behind / forget kindness
        turn away from people in need / let others get hurt / neglect the wounded / set mercy aside / harden your heart
        ignore people in pain / accept that others suffer / walk past someone in pain / allow harm to others"""),
    "Fairness": words(
        """ignore fairness / give up your principles / take more than your share / bend the rules of the game / favour one side / forget justice / let cheating pass"""
    ),
    "Loyalty": words(
        """leave your friends / turn on the team / break with the family / tell the secrets of friends / abandon your group / forget old friends"""
    ),
    "Authority": words("""defy authority / ignore orders / break the rules / question those in charge / refuse commands / disobey the boss
        go against leaders / doubt people in power / resist authority / set the rule book aside / reject rank / say no to the boss
        challenge officials / disregard the law"""),
    "Sanctity": words(
        """ignore what is holy / mock the sacred / let the temple get dirty / forget purity / stain holy things / laugh at prayer"""
    ),
    "Liberty": words(
        """force people / take away free choice / limit freedom / tell others how to live / control people / ignore liberty"""
    ),
    "SocialNorms": words(
        """ignore custom / break with tradition / forget your manners / shock people / make a scene / ignore what people expect"""
    ),
}

ARCHETYPES: dict[str, dict[str, float]] = {
    "nurse": {"Care": 1.8},
    "judge": {"Fairness": 1.8},
    "soldier": {"Loyalty": 1.8, "Authority": 0.5},
    "clerk": {"Authority": 1.8},
    "priest": {"Sanctity": 1.9},
    "rebel": {"Liberty": 1.9, "Authority": -0.8},
    "butler": {"SocialNorms": 1.9},
    "healer": {"Care": 1.5, "Sanctity": 0.7},
}
ARCHETYPE_NAMES: dict[str, tuple[str, ...]] = {
    "nurse": ("nurse", "night nurse", "children's nurse"),
    "judge": ("judge", "fair judge", "village judge"),
    "soldier": ("soldier", "old soldier", "soldier of the guard"),
    "clerk": ("clerk", "court clerk", "royal clerk"),
    "priest": ("priest", "temple priest", "old priest"),
    "rebel": ("rebel", "young rebel", "rebel poet"),
    "butler": ("butler", "old butler", "polite butler"),
    "healer": ("healer", "wise healer", "village healer"),
}

# domain: place, bosses, victims, then scenes (order / help / harm); {v} is the victim, {t} a thing of the domain.
DOMAINS: dict[str, dict[str, tuple[str, ...]]] = {
    "ship": {
        "place": ("on the ship",),
        "boss": words("the captain / the first mate / the ship's owner / the harbour master"),
        "victim": words("the sailor / the cabin boy / the cook's helper / the young deckhand / the passenger"),
        "thing": words("the deck / the ropes / the sails / the anchor / the lamps"),
        "scene": words(
            """leave {v} out in the storm | bring {v} inside | {v} will freeze
             keep {v} on watch all night | let {v} sleep | {v} can barely stand
             sail on without {v} | wait for {v} | {v} would be left behind
             lock {v} below | let {v} out | {v} is scared and cold""".replace(" / ", "/")
        ),
    },
    "hospital": {
        "place": ("in the hospital",),
        "boss": words("the doctor / the head nurse / the director / the chief surgeon"),
        "victim": words("the patient / the old woman / the sick boy / the wounded man / the new nurse"),
        "thing": words("the beds / the charts / the bandages / the medicine / the lamps"),
        "scene": words("""send {v} home early | keep {v} here | {v} is still in pain
                 wait with the medicine for {v} | give {v} the medicine | {v} is in pain
                 move {v} to the hall | find {v} a bed | {v} will get worse
                 close the door on {v} | sit with {v} | {v} is afraid"""),
    },
    "school": {
        "place": ("at the school",),
        "boss": words("the teacher / the principal / the coach / the head of the school"),
        "victim": words("the small boy / the shy girl / the new pupil / the lame child / the quiet student"),
        "thing": words("the books / the chairs / the maps / the board / the pens"),
        "scene": words("""make {v} stand in the rain | let {v} come in | {v} is shaking
               laugh at {v} in class | stand up for {v} | {v} is crying
               leave {v} out of the game | let {v} play | {v} feels alone
               take away the lunch of {v} | share my lunch with {v} | {v} will go hungry"""),
    },
    "office": {
        "place": ("at the office",),
        "boss": words("the boss / the manager / the owner / the chief"),
        "victim": words("the intern / the old clerk / the cleaner / the typist / the new worker"),
        "thing": words("the files / the desks / the letters / the phones / the papers"),
        "scene": words("""fire {v} before winter | keep {v} on | {v} could lose the house
               make {v} work through the night | send {v} home to rest | {v} is ill
               blame {v} for the mistake | speak for {v} | {v} did nothing wrong
               hold back the pay of {v} | pay {v} at once | {v} cannot buy food"""),
    },
    "farm": {
        "place": ("on the farm",),
        "boss": words("the farmer / the landlord / the overseer / the owner of the farm"),
        "victim": words("the farm hand / the tired worker / the old dog / the young goat / the picker"),
        "thing": words("the barn / the fences / the wheat / the tools / the well"),
        "scene": words("""keep {v} in the hot sun | bring {v} into the shade | {v} is about to fall
             give {v} no water today | bring {v} some water | {v} is very thirsty
             leave {v} in the cold barn | find {v} a warm place | {v} is shaking
             drive {v} off the land | hide {v} for the night | {v} has nowhere to go"""),
    },
    "kitchen": {
        "place": ("in the kitchen",),
        "boss": words("the chef / the head cook / the owner of the inn / the host"),
        "victim": words("the kitchen boy / the waiter / the hungry beggar / the dish washer / the maid"),
        "thing": words("the pots / the knives / the plates / the stove / the soup"),
        "scene": words("""send {v} away hungry | feed {v} | {v} has not eaten for days
                shout at {v} all day | speak kindly to {v} | {v} is in tears
                make {v} carry the hot pots | carry the pots for {v} | {v} has burned hands
                throw {v} out at night | let {v} stay | {v} would sleep in the street"""),
    },
    "army": {
        "place": ("in the camp",),
        "boss": words("the general / the sergeant / the major / the commander"),
        "victim": words("the prisoner / the wounded soldier / the recruit / the village girl / the drummer boy"),
        "thing": words("the tents / the guns / the horses / the flags / the boots"),
        "scene": words("""leave {v} on the field | carry {v} back | {v} will die there
             beat {v} for being late | let {v} go | {v} is already hurt
             take the coat of {v} | give {v} my coat | {v} is freezing
             march on without {v} | slow down for {v} | {v} cannot walk"""),
    },
    "castle": {
        "place": ("at the castle",),
        "boss": words("the king / the queen / the duke / the prince"),
        "victim": words("the servant / the page / the poor widow / the stable boy / the old guard"),
        "thing": words("the gates / the gold / the halls / the crown / the torches"),
        "scene": words("""shut the gate on {v} | open the gate for {v} | {v} is hunted by wolves
               whip {v} for a broken cup | hide {v} from the whip | {v} is very weak
               take the last corn of {v} | leave {v} the corn | {v} would starve
               throw {v} into the cellar | let {v} slip away | {v} is sick with fear"""),
    },
    "shop": {
        "place": ("in the shop",),
        "boss": words("the shop owner / the manager of the shop / the head of sales / the merchant"),
        "victim": words("the poor mother / the old customer / the errand boy / the blind man / the young seller"),
        "thing": words("the shelves / the bread / the scales / the boxes / the window"),
        "scene": words("""refuse {v} the bread | give {v} the bread | {v} is hungry
             sell {v} the bad milk | warn {v} about the milk | {v} would get sick
             chase {v} away | let {v} warm up inside | {v} is cold
             make {v} lift the heavy boxes | lift the boxes for {v} | {v} has a bad back"""),
    },
    "train": {
        "place": ("on the train",),
        "boss": words("the conductor / the station master / the driver / the inspector"),
        "victim": words("the lost child / the old man / the tired mother / the lame traveller / the porter"),
        "thing": words("the tickets / the bags / the seats / the doors / the bell"),
        "scene": words("""put {v} off the train | let {v} stay on | {v} would be alone in the dark
              leave without {v} | hold the door for {v} | {v} is running with a bad leg
              make {v} stand | give {v} a seat | {v} feels faint
              ignore {v} | help {v} | {v} is hurt"""),
    },
    "mine": {
        "place": ("in the mine",),
        "boss": words("the foreman / the mine owner / the shift leader / the engineer"),
        "victim": words("the young miner / the trapped miner / the injured digger / the mule / the lamp boy"),
        "thing": words("the carts / the coal / the lamps / the beams / the pumps"),
        "scene": words("""stop digging for {v} | keep digging for {v} | {v} is still alive
             send {v} down the bad shaft | keep {v} out of the shaft | {v} could be crushed
             give {v} no rest | let {v} rest | {v} can hardly breathe
             say nothing about {v} | call a doctor for {v} | {v} is bleeding"""),
    },
    "town": {
        "place": ("in the town",),
        "boss": words("the mayor / the sheriff / the tax collector / the police chief"),
        "victim": words("the homeless man / the orphan / the street singer / the stranger / the sick neighbour"),
        "thing": words("the streets / the square / the bridge / the fountain / the walls"),
        "scene": words("""drive {v} out of town | give {v} shelter | {v} has no home
             take the blanket of {v} | leave {v} the blanket | {v} sleeps in the snow
             keep quiet about {v} | get help for {v} | {v} was beaten
             walk past {v} | stop and help {v} | {v} fell in the street"""),
    },
    "theatre": {
        "place": ("at the theatre",),
        "boss": words("the director of the play / the stage manager / the producer / the conductor of the band"),
        "victim": words("the young dancer / the singer / the stage hand / the child actor / the old clown"),
        "thing": words("the curtain / the lights / the masks / the stage / the drums"),
        "scene": words("""make {v} dance on | let {v} stop | {v} has a broken toe
                mock {v} in front of all | take the side of {v} | {v} is close to tears
                keep {v} on the high rope | bring {v} down | {v} could fall
                send {v} on stage with a fever | tell {v} to rest | {v} is burning hot"""),
    },
    "lab": {
        "place": ("in the lab",),
        "boss": words("the professor / the head of the lab / the sponsor / the chief scientist"),
        "victim": words("the test subject / the small monkey / the student helper / the volunteer / the white rabbit"),
        "thing": words("the glass tubes / the notes / the samples / the cages / the scales"),
        "scene": words("""go on with the test on {v} | stop the test on {v} | {v} is in pain
            give {v} a second dose | spare {v} the dose | {v} is already weak
            keep {v} in the cage | free {v} | {v} is crying out
            hide the burns of {v} | treat the burns of {v} | {v} is suffering"""),
    },
}

# For dilemmas between any two foundations: acts that serve one, in the base form.
ACTS: dict[str, tuple[str, ...]] = {
    "Care": words("""stay with {victim} / comfort {victim} / take {victim} to a doctor / give {victim} my food / protect {victim} / help {victim}
        calm {victim} / carry {victim} home / find help for {victim} / keep {victim} safe"""),
    "Fairness": words("""split the pay evenly / give everyone the same share / report the cheat / count the votes again / return the extra money
        let each one have a turn / judge both sides by one rule / tell who broke the deal"""),
    "Loyalty": words("""stand by my friend / keep my brother's secret / play for my old team / defend my family / stay with my crew
        keep faith with my group / back my sister / refuse to leave my friends"""),
    "Authority": words("""obey {boss} / do as {boss} says / follow the order / keep to the rule book / report to {boss}
        respect {boss} / carry out the command / wait for {boss} to decide"""),
    "Sanctity": words("""keep the temple clean / honour the holy day / bury the dead with care / keep my body pure / protect the sacred tree
        pray at the old grave / guard the holy book / wash before the prayer"""),
    "Liberty": words("""let the boy choose / let each one speak freely / open the doors for all / refuse to force anyone / let her go her own way
        leave the choice to them / stay free of the contract / let people live as they like"""),
    "SocialNorms": words("""dress as people expect / keep the old custom / greet the guests first / stay polite at the table / follow the tradition
        wear the dark suit / bring a gift as people do / keep my voice down"""),
}

# Violations, in the base form, for vignettes. {agent} acts; {victim}, {boss} come from a domain.
WRONGS: dict[str, tuple[str, ...]] = {
    "Care": words("""hit {victim} / kick {victim} / push {victim} down the stairs / leave {victim} in the cold / laugh at {victim} in pain
        let {victim} go hungry / refuse to help {victim} / scare {victim} for fun / walk past {victim} on the ground / hurt {victim}
        throw stones at {victim} / ignore the cries of {victim} / slap {victim} / leave {victim} to bleed / mock {victim} until tears come
        burn the hand of {victim} / lock {victim} in the dark / let {victim} drown / pull {victim} by the hair / shout cruel words at {victim}
        starve {victim} / trip {victim} / take the blanket of {victim} / beat {victim} / leave {victim} behind in the snow"""),
    "Fairness": words("""cheat at cards / take a double share / pay one worker less for the same work / steal votes / copy the answers in a test
        keep the change that is not theirs / jump the queue / lie about the score / hide some of the prize / sell broken tools as new
        use a false weight / blame another for a theft / move the finish line / take credit for the work of others / give the best part to a favourite / count one vote twice / sell a sick horse as healthy / pay with false money / take more than was agreed / judge a friend more softly than a stranger"""),
    "Loyalty": words("""betray a friend / tell a secret of the team / leave the team before the match / speak ill of the family / join the other side
        sell the plans of the group / refuse to back a brother / forget an old friend / cheer for the enemy / burn the flag
        desert the crew / break a promise to a friend / help a rival win / abandon the group / leave a brother in trouble / laugh at the family name / give the key to the enemy / walk away from the crew / hide when the team needs help"""),
    "Authority": words("""disobey {boss} / ignore the order of {boss} / talk back to {boss} / laugh at the command of {boss} / refuse to stand for {boss}
        break the rule of {boss} / defy {boss} / walk out while {boss} speaks / tear up the order of {boss} / insult {boss}
        go against the word of {boss} / interrupt {boss} / mock the rank of {boss} / do the opposite of what {boss} said
        refuse a direct order / skip the watch that {boss} set / turn away when {boss} gives a command / overrule {boss} in secret
        shout at {boss} / act without asking {boss} / forge the name of {boss} / throw away the rule book"""),
    "Sanctity": words("""spit in the temple / eat from a dirty bowl / dig up a grave / spill wine on the holy book / sleep in the church
        wash in the holy well / swear in a prayer / eat rotten meat for a bet / rub mud on the altar / drink blood for fun
        cut down the sacred tree / sell a holy bone / play cards on a grave / wear dirty rags to the altar / mock the prayer of the priest / throw rubbish into the holy well / wipe dirty boots on the altar cloth / eat a dead crow / paint a joke on the church wall"""),
    "Liberty": words("""force a girl to marry / read the letters of a neighbour / forbid a grown son to leave / lock the door so that nobody can go
        make everyone vote the same way / ban a song / tell a wife what to wear / stop a man from speaking / choose a job for a daughter
        take the keys of a grown woman / make the guests stay / watch the neighbours day and night / forbid people to meet / burn a book that others read / make a son become a priest / forbid a song that people love / decide whom a sister may love / tell grown men when to sleep / take away the right to vote"""),
    "SocialNorms": words("""eat soup with the hands / come to a funeral in a clown suit / burp at the table / wear pyjamas to the office / sing loudly in the library
        put feet on the table / greet nobody at the party / talk on the phone during a speech / wear a hat at dinner / pick the nose in public
        sit in the wrong seat / laugh in the quiet room / bring no gift to the feast / stare at strangers / yawn loudly at the wedding / wear boots to the dance / eat from the plate of another guest / answer with a full mouth / whistle at a funeral"""),
}
AGENTS = words("""a man / a woman / a boy / a girl / a worker / a guard / a guest / a student / a clerk / a neighbour / a young man
    an old man / a visitor / a driver / a farmer / a cook / a helper / a soldier / a friend / someone""")

PAIRED_HARM = words("""hurts {victim} / leaves {victim} in pain / lets {victim} suffer / puts {victim} in danger""")

WORKS = words(
    "the poem / the cake / the song / the drawing / the speech / the soup / the letter / the story / the coat / the plan / the garden / the dance / the chair / the photo / the table / the mask / the letter / the play / the bread / the essay / the painting / the hat / the model / the dress / the joke / the pie"
)
BAD = words(
    "dull / dry / too long / crooked / weak / flat / messy / too salty / unclear / clumsy / thin / boring / stiff / empty / loud / sloppy / bitter / confusing / cold / plain"
)
GOOD = words(
    "lovely / clever / fresh / strong / well made / bright / clear / warm / funny / neat / rich / elegant / tasty / perfect"
)

FACTS: tuple[tuple[str, str, str], ...] = tuple(
    (a.strip(), b.strip(), c.strip())
    for a, b, c in (
        line.split("|")
        for line in """
    the colour of a lemon|yellow|colour
    the colour of grass|green|colour
    the colour of snow|white|colour
    the colour of coal|black|colour
    the colour of blood|red|colour
    the colour of the sky by day|blue|colour
    the colour of a carrot|orange|colour
    the colour of a crow|black|colour
    the colour of milk|white|colour
    the colour of a frog|green|colour
    the sound of a dog|a bark|sound
    the sound of a cat|a meow|sound
    the sound of a cow|a moo|sound
    the sound of a duck|a quack|sound
    the sound of a lion|a roar|sound
    the sound of a snake|a hiss|sound
    the young of a cow|a calf|young
    the young of a dog|a puppy|young
    the young of a cat|a kitten|young
    the young of a sheep|a lamb|young
    the young of a horse|a foal|young
    the young of a hen|a chick|young
    the young of a goat|a kid|young
    the opposite of hot|cold|opposite
    the opposite of big|small|opposite
    the opposite of day|night|opposite
    the opposite of up|down|opposite
    the opposite of wet|dry|opposite
    the opposite of fast|slow|opposite
    the opposite of young|old|opposite
    the opposite of happy|sad|opposite
    the opposite of open|closed|opposite
    the opposite of early|late|opposite
    the opposite of full|empty|opposite
    the opposite of light|dark|opposite
    the home of a bee|a hive|home
    the home of a bird|a nest|home
    the home of a spider|a web|home
    the home of a fish|the water|home
    the home of a horse|a stable|home
    the home of a king|a castle|home
    the tool of a painter|a brush|tool
    the tool of a tailor|a needle|tool
    the tool of a baker|an oven|tool
    the tool of a writer|a pen|tool
    the tool of a carpenter|a hammer|tool
    the tool of a fisherman|a net|tool
    the number of legs of a spider|8|number
    the number of legs of a dog|4|number
    the number of legs of a bird|2|number
    the number of days in a week|7|number
    the number of months in a year|12|number
    the number of hours in a day|24|number
    the number of wheels of a bicycle|2|number
    the number of fingers on a hand|5|number
    the day after Monday|Tuesday|day
    the day after Tuesday|Wednesday|day
    the day after Wednesday|Thursday|day
    the day after Thursday|Friday|day
    the day after Friday|Saturday|day
    the day after Saturday|Sunday|day
    the day after Sunday|Monday|day
    the season after winter|spring|season
    the season after spring|summer|season
    the season after summer|autumn|season
    the season after autumn|winter|season
    the thing that bees make|honey|thing
    the thing that hens lay|eggs|thing
    the thing that cows give|milk|thing
    the thing that sheep give|wool|thing
    the thing that bakers bake|bread|thing
    """.strip().splitlines()
    )
)
