"""Statistics of experiments: from counts, means, variances and covariances of arms to a decision. No tables, no Spark.

`analysis` is the top: it takes every look so far. `columns` names what is summed per listener. `estimates` and
`triggered` make an effect and its error of one look, `sequential` the bounds that hold over all looks, `courses` brings
both together for one metric. `quality` judges the experiment itself, `decision` is the one rule, and `planning` says
beforehand what an experiment can find.
"""
