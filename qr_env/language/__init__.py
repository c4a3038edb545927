"""The languages of shops: codes, scripts of letters, words and index terms."""
