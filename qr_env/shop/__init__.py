"""Shops: products, queries, grades and purchases; `load_shop` reads one by its name or folder."""

from qr_env.shop.load import load_shop
from qr_env.shop.shop import Shop

__all__ = ["Shop", "load_shop"]
