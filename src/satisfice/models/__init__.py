"""From the name of a model to weights, tokenizer and profile; the models that come with the package lie here too.

`names` has the grammar of names, `resolve` finds or makes the folder of a model, `adapters` merges a LoRA adapter into
one, `convert` makes one from other people's files, `recognise` reads from a tokenizer and a chat template how a model
thinks, `words` turns text into tokens and back.
"""
