"""What each command does with its settings: run the job, show the result.

One file a verb, imported when the verb is used. Each `run` takes settings and
console and returns what ``--json`` prints and the text that is shown otherwise.
"""
