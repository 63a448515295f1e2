"""What options are when nobody gives them: the files and variables that say so, and which wins.

It knows neither the command line nor any command: what may be set is handed in, as a
:class:`towline.settings.schema.Schema`.
"""
