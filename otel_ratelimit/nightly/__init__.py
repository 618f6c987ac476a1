"""The nightly report: which days lack one, making it, keeping it, mailing it.

`job` is what runs; `supposed` reads the policy for it; `mailing` writes the e-mail. Needs the extra `report`.
"""
