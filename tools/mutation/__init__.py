"""Mutation tests of vlad/safety: does a test notice every small change of the code?"""
