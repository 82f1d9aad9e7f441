"""Does the biology survive? What is concluded from predicted stains beside what is from true ones.

Functions of tables, a row a field or well and a column a feature: where the numbers come from, and
who reads the answer, is no matter here.
"""
