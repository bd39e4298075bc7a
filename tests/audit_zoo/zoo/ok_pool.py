"""Leaves an idle pool behind, which ends by itself."""

from concurrent.futures import ThreadPoolExecutor

pool = ThreadPoolExecutor(2)
pool.submit(int).result()
