"""The public functions and values, over the rooms below: `import mlimages_dataset as ml` is the way in.

A function takes a frame (pandas, Arrow, or what gives itself as Arrow) or a path wherever it takes data, and writes
into a folder. Without `out` that is a folder of its own, which goes when nothing refers to the result any more; with
`out` it is an output folder as of the command: what stands there with the same parameters and inputs is not made again.
"""
