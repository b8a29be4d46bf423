"""How good a network is on labelled data: accuracy, agreement with another one, worst mistakes.

`layouts` reads data sets, `subject` opens what is to be judged, `judging` asks it about samples,
`journal` keeps the answers, `tally` counts them, `report` and `page` show the counts.
"""
