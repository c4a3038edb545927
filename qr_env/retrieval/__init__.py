"""Search engines over a shop's products. Importing the package loads neither faiss nor torch."""

from qr_env.retrieval.bm25 import BM25
from qr_env.retrieval.dense import Dense
from qr_env.retrieval.encoder import Encoder
from qr_env.retrieval.factory import make_retriever
from qr_env.retrieval.hybrid import Hybrid

__all__ = ["BM25", "Dense", "Encoder", "Hybrid", "make_retriever"]
