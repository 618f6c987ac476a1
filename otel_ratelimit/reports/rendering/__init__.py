"""How the nightly cache report looks: as a mail, as a page of its own, and in a terminal.

`view` turns a report into words and figures; `mail_body`, `html_page` and `terminal_tables` arrange them.
"""
