"""Study on real images of which default order selects the best model, evaluated on held-out data sets and networks.

    python -m studies.default_order extract|trials|finetune|judge [--out FOLDER]

See README.md in this folder. The study takes hours; it can be stopped at any time and resumes where it stopped.
"""
