"""Measures a network on labelled data: accuracy, worst mistakes, agreement with another network.

`layouts` reads data sets, `samples` prepares them, and `subject` opens the networks. `judging` and
`fleet` compute the answers, `journal` stores them and `tally` counts them. `report` and `page` show
the counts.
"""
