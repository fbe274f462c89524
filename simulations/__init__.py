"""Stored evidence: how estimators and intervals do where the truth is known.

`python -m simulations` (`make simulate`) runs the studies; `studies.py` lists them. A study is
designs x methods x sizes (`study.py`), scored by `run.py` and kept by `store.py`. Not part of the
package: nothing in `evalkit` imports it.
"""
