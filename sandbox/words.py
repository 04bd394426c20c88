"""The Slovene words of the sandbox's pages; the English sentences are the keys."""

SLOVENE = {
    # every page
    "TEST world: nothing here is real, nothing leaves this machine.": (
        "TESTNI svet: nič tukaj ni resnično, nič ne zapusti tega računalnika."
    ),
    "Mailbox": "Poštni predal",
    "Phone": "Telefon",
    "Register": "Register",
    "Branch office": "Poslovalnica",
    "This service is switched off for a test.": "Ta storitev je za preizkus izklopljena.",
    # mailbox and phone
    "Mail that the platform has sent": "Pošta, ki jo je poslala platforma",
    "No mail yet. It appears here as soon as it is sent.": "Ni še pošte. Prikaže se takoj, ko je poslana.",
    "All addresses": "Vsi naslovi",
    "Address": "Naslov",
    "Show": "Pokaži",
    "From": "Od",
    "To": "Za",
    "Without subject": "Brez zadeve",
    "Text messages that the platform has sent": "Sporočila SMS, ki jih je poslala platforma",
    "No messages yet. They appear here as soon as they are sent.": "Ni še sporočil. Prikažejo se takoj, ko so poslana.",
    "All phones": "Vsi telefoni",
    # register and branch
    "Persons in the register": "Osebe v registru",
    "The register knows made-up persons only.": "Register pozna samo izmišljene osebe.",
    "Nobody is registered yet.": "V registru še ni nikogar.",
    "Add a person": "Dodaj osebo",
    "Make up a person": "Izmisli si osebo",
    "Add": "Dodaj",
    "Go there as this person": "Pojdi tja kot ta oseba",
    "Given name": "Ime",
    "Surname": "Priimek",
    "Tax number": "Davčna številka",
    "Date of birth": "Datum rojstva",
    "This field is not right.": "To polje ni pravilno izpolnjeno.",
    "This tax number is another person's.": "Ta davčna številka pripada drugi osebi.",
    "Hand out an identification key": "Izdaj identifikacijski ključ",
    "The person stands before you with a document.": "Oseba stoji pred vami z dokumentom.",
    "Document": "Dokument",
    "Identity card": "osebna izkaznica",
    "Passport": "potni list",
    "Residence permit": "dovoljenje za prebivanje",
    "Document number": "Številka dokumenta",
    "Officer": "Uslužbenec",
    "I have checked the document and the person's face.": "Preveril sem dokument in obraz osebe.",
    "Confirm that you have checked the document.": "Potrdite, da ste preverili dokument.",
    "Identification key": "Identifikacijski ključ",
    "Hand this key to the person. It is shown once.": "Ključ izročite osebi. Prikazan je samo enkrat.",
    "Valid until": "Velja do",
    "Next person": "Naslednja oseba",
    # witness
    "Witness": "Priča",
    "The witness co-signs a log only while it grows. It refuses one that was rewritten or became shorter.": (
        "Priča sopodpisuje dnevnik le, dokler raste. Prepisanega ali skrajšanega zavrne."
    ),
    "Logs that are watched": "Dnevniki pod nadzorom",
    "Log": "Dnevnik",
    "Entries": "Vpisi",
    "Last co-signed": "Nazadnje sopodpisan",
    "Refused": "Zavrnjeno",
    "No log has come yet.": "Noben dnevnik še ni prišel.",
}
