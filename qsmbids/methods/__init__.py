"""What is declared of every step and method: settings, sentences, recommendations, the call.

One file per step of the paper's Figure 5, and one per method of the two steps that have several
(``background/``, ``inversion/``). All else derives from the declarations: the keys and limits of
TOML, the choices of the command line, the keys of the sidecars, the table of the settings, the
methods text, and what the pipeline check says of a choice.

The numerics are imported when a method is used: settings, help and reports need none of them.
"""
