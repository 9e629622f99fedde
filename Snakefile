include: "workflow/Snakefile"


workflow.default_target = "all"  # an included file cannot say what `snakemake` alone makes
