"""The public functions and values: `import mlimages_dataset as ml`.

Wherever a function takes data, it takes a frame (pandas, Arrow, or anything that exports an Arrow stream) or a path. It
writes into a folder: without `out` into a temporary one, which is removed when nothing refers to the result any more;
with `out` into an output folder like the command's, in which finished stages with the same parameters and inputs are
not run again.
"""
