"""How the nightly cache report looks: as a mail, and as a page of its own.

`view` puts a report into words and figures once; a mail, a page and the terminal only arrange them.
"""
