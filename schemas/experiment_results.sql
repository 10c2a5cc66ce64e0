-- One row per look at an experiment, treatment and metric, check or decision: what the looks so far say.
CREATE TABLE experiment_results (
  run_date            DATE   NOT NULL COMMENT 'Night of the look that the results were worked out on',
  experiment          STRING NOT NULL COMMENT 'Experiment, by the name of its file',
  treatment           STRING NOT NULL COMMENT 'Arm that is compared with control',
  kind                STRING NOT NULL COMMENT 'metric, check or decision; or conclusion, which people come to: then the night is the first one without the experiment',
  name                STRING NOT NULL COMMENT 'Metric; step of the check; verdict of the decision; arm that everyone gets after a conclusion',
  role                STRING NOT NULL COMMENT 'Of a metric: success, guardrail or deterioration; of a check the part of the system that it speaks about; of a decision empty',
  segment             STRING NOT NULL COMMENT 'Empty for all listeners; segments are exploratory. Of a check the column that is compared',
  day                 INT    NOT NULL COMMENT 'Days of the experiment at the look',
  control_listeners   BIGINT          COMMENT 'Listeners of control that are analysed, count',
  treatment_listeners BIGINT          COMMENT 'The same of the treatment',
  share               DOUBLE          COMMENT 'Share of all listeners of both arms that is analysed: of those triggered, where triggers are known',
  control             DOUBLE          COMMENT 'Metric in control, of all listeners; of a check what is compared',
  effect              DOUBLE          COMMENT 'Treatment - control, of all listeners, in units of the metric',
  standard_error      DOUBLE          COMMENT 'Of the effect, in units of the metric',
  relative            DOUBLE          COMMENT 'Effect as a share of control',
  low                 DOUBLE          COMMENT 'Lower end of the repeated confidence interval of the relative effect; of a segment the 95 % interval of one look',
  high                DOUBLE          COMMENT 'Upper end of the same',
  z                   DOUBLE          COMMENT 'Standardised distance from what is to be disproved: of superiority, of a guardrail of non-inferiority; of a check its statistic',
  bound               DOUBLE          COMMENT 'Bound that z has to reach at this look; infinite where the look tells nothing new',
  futility            DOUBLE          COMMENT 'Bound below which it is out of reach; minus infinity if none',
  harm_z              DOUBLE          COMMENT 'Standardised distance of inferiority',
  harm_bound          DOUBLE          COMMENT 'Bound that harm_z has to reach at this look',
  alpha               DOUBLE          COMMENT 'Rate of error spent so far; of a check its own over all looks',
  p_value             DOUBLE          COMMENT 'Sequential p-value',
  adjusted            DOUBLE          COMMENT 'Relative effect corrected for stopping, median unbiased; at the last look so far',
  adjusted_low        DOUBLE          COMMENT 'Lower end of its 95 % interval',
  adjusted_high       DOUBLE          COMMENT 'Upper end of the same',
  reduction           DOUBLE          COMMENT 'Share of the variance that the days before the start took off',
  outcome             STRING NOT NULL COMMENT 'Of a metric: proved, harmed, futile or open; of a check holds or failed; of a decision its sentence',
  reasons             ARRAY<STRING>   COMMENT 'Of a decision: why, in sentences; null otherwise'
)
USING DELTA
PARTITIONED BY (run_date)
TBLPROPERTIES (
  "nocturne.listeners" = "none",
  "delta.constraints.kind_known" = "kind IN ('metric', 'check', 'decision', 'conclusion')",
  "delta.enableDeletionVectors" = "false"
)
