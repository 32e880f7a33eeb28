"""From the name of a model to weights, tokenizer and profile; the models that come with the package lie here too.

`resolve` finds or makes the folder of a model, `convert` makes one from other people's files, `recognise` reads from a
tokenizer and a chat template how a model thinks, `words` turns text into tokens for engines that compute elsewhere.
"""
