"""The nightly report: which days lack one, making it, keeping it, mailing it.

`job` is what runs, `schedule` when; `analysed` makes one report, for which `supposed` reads the policy;
`mailing` writes the e-mail. Needs the extra `report`.
"""
