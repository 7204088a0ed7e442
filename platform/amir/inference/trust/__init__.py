"""Is this input like the training data, and how sure is the answer?"""
