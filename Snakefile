# What `snakemake` runs in this folder. The target is here, because an included file cannot have the default one.
include: "workflow/Snakefile"


rule all:
    default_target: True
    input:
        table_files,
        figure_files,
        expand(f"{RESULTS}/{{file}}", file=TRANSCRIPTS),
        f"{RESULTS}/index.html",
    message:
        "The experiment is complete"
