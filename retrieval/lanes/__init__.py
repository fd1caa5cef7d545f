"""What runs a network: token rows in, float32 numbers out, one lane per library and arithmetic.

`retrieval.lanes.torch_lane` is the reference; every other lane has a test that holds it against that one by value.
"""
