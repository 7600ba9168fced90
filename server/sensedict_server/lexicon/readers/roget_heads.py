"""Heads of Roget's Thesaurus whose nouns name things of many kinds: vehicles, coins, vestments, diseases, gods.

Under them words of one group (as a skiff beside a punt) are kinds of a thing and no synonyms. Chosen by reading the
heads; a number is Roget's own.
"""

from __future__ import annotations

_HEADS = """
    84 numbers  98 five and more  99 fractions  108 periods  114 clocks and calendars
    189 abodes  191 receptacles  200 measures of length  205 filaments  215 supports  223 coverings  224 linings
    225 clothing  244 angles and figures  245 curves  249 round bodies  250 convex bodies  253 sharp things
    260 openings  262 perforators  263 stoppers  266 journeys  268 travellers  269 mariners  271 carriers
    272 vehicles  273 ships  284 missiles  298 food  312 rotation  318 worlds  319 weights  321 dense bodies
    329 textures  330 powders  341 seas  342 lands  343 gulfs and lakes  344 plains  346 islands  348 rivers
    349 winds  350 conduits  353 clouds and bubbles  356 oils  356a resins  357 organisms  358 minerals
    363 interment  366 animals  367 plants  368 zoology  369 botany  370 husbandry of animals  371 agriculture
    372 mankind  374 women  378 pains  384 heating  385 cooling  386 furnaces  387 refrigerators  388 fuels
    388a insulation  389 thermometers  392 pungent things  392b drugs  393 condiments  396 sweets  400 fragrances
    412 cries of animals  413 melody  415 music  416 musicians  417 musical instruments  418 hearing  423 luminaries
    428 colour  430 white  431 black  432 grey  433 brown  434 red  435 green  436 yellow  437 purple  438 blue
    439 orange  440 variegation  443 faults of sight  445 optical instruments  466 measures  511 divination
    513 oracles  540 teachers  542 schools  550 signs  551 records  553 recorders  554 likenesses  556 painting
    557 sculpture  558 engraving  559 artists  561 letters  562 words  567 grammar  590 writing  591 printing
    593 books  594 narratives  595 treatises  597 poetry  599 drama  625 businesses  633 tools  635 materials
    637 provisions  655 diseases  662 remedies  663 banes  666 refuges  690 agents  691 workshops  694 directors
    696 councils  712 parties  717 defences  722 warfare  726 combatants  727 arms  733 trophies  737a government
    745 masters  746 servants  747 sceptres  752 prisons and chains  753 keepers  754 prisoners  758 consignees
    759 deputies  771 securities  779 possessors  780 property  792 thieves  797 merchants  798 merchandise
    799 markets  799a stocks  799b securities  800 money  801 treasurers  802 treasuries  811 accounts  812 prices
    840 amusements  847 ornaments  847a jewels  848 blemishes  875 nobility  876 commonalty  877 titles
    959 drinks  962 libertines  963 law  965 jurisdictions  966 courts  967 judges  968 lawyers  969 lawsuits
    972 punishments  975 scourges  976 deities  977 angels  978 devils  979 fairies  980 demons  981 heaven
    982 hell  983 theology  983a faiths  984 sects  985 scriptures  986 prophets  991 idols  992 sorcery  993 spells
    994 sorcerers  995 churches  996 clergy  997 laity  998 rites  999 vestments  1000 temples
"""

NAMES_OF_THINGS = frozenset(word for word in _HEADS.split() if word[0].isdigit())
