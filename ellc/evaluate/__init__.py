"""Measures a network on labelled data: accuracy, agreement with another network, worst mistakes.

`layouts` reads data sets, `subject` opens the networks, `judging` and `fleet` compute their
answers, `journal` stores the answers, `tally` counts them, `report` and `page` show the counts.
"""
