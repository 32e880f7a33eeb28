"""Shapers inside verl, on one GPU or many nodes: a plug-in that verl finds by itself once both are installed.

    pip install 'satisfice[verl]'
    satisfice doctor --verl                                    # is everything registered? verl hides what fails
    python -m satisfice.training.verl.prepare --shaper siri --model DIR --tasks countdown --out run
    bash run/train.sh                                          # verl's own command, with verl's own settings

What is registered: an advantage estimator for each shaper (`satisfice/grpo`, `satisfice/laser-d`, ...), a policy loss
that computes what a shaper asks for, a reward manager that tells right from wrong and leaves length to the shaper, an
agent loop that hears caps and stop rules, and a trainer that hands all of it what verl's own does not pass on.
"""
