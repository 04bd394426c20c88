"""The world outside: what is not the platform's in real life, small enough to run beside it.

Mailbox, SMS phone, population register, branch office, log witness and person maker. Nothing here imports the
platform; everything speaks with it over the network, through the interfaces that the real ones
would use. Its face is the command line: `python -m sandbox init|serve|witness`, `python -m
sandbox.person new`, `python -m sandbox.story`. For tests and the demo: `sandbox.story.run_story`,
`sandbox.person.make_person_account` and `sandbox.browser.Browser`.
"""
