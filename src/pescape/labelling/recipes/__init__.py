"""Recipes: how the calculators of each electronic-structure code, and the EAM, are made.

Every recipe is a module with the same five names: ``EXTERNAL`` (whether another program
works), ``LOGS`` (its text output), ``reference`` (a configuration made into a `Reference`),
``check`` (are programs and files there?) and ``make`` (a calculator).
"""
