"""The store of generated texts: by key, shared by processes, consistent after a kill."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from qr_env.common.errors import StoreError
from qr_env.common.text_store import TextStore, text_key


def test_texts_are_stored_by_key(tmp_path: Path) -> None:
    store, key = TextStore(tmp_path), text_key("m", "p", {"max_new_tokens": 8})
    queries = [f"query {n}" for n in range(1_200)]  # more than one SELECT holds
    store.put(key, {query: query.upper() for query in queries})
    store.put(key, {"query 0": "second thoughts", "é 'quoted'": ""})
    assert store.get(key, [*queries, "new", "é 'quoted'"]) == {
        **{query: query.upper() for query in queries},
        "é 'quoted'": "",
    }
    store.close()
    assert TextStore(tmp_path / "texts.sqlite").get(key, ["query 7", "query 7"]) == {"query 7": "QUERY 7"}
    for other in (("n", "p", {"max_new_tokens": 8}), ("m", "q", {"max_new_tokens": 8}), ("m", "p", {})):
        assert store.get(text_key(*other), queries) == {}


def _put_texts(path: Path, name: str) -> None:
    store = TextStore(path)
    for n in range(60):
        store.put("k", {f"{name} {n}": name, f"both {n}": name})


def test_several_processes_put_texts_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_put_texts, args=(tmp_path, name)) for name in ("a", "b")]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    store = TextStore(tmp_path)
    assert len(store.get("k", [f"{name} {n}" for name in ("a", "b", "both") for n in range(60)])) == 180


def test_a_killed_process_loses_only_what_it_had_not_put(tmp_path: Path) -> None:
    code = (
        "import sys; from qr_env.common.text_store import TextStore; s = TextStore(sys.argv[1]); n = 0\n"
        "while True: s.put('k', {str(n): 'x' * 2000}); print(n, flush=True); n += 1"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        while int(child.stdout.readline()) < 20:
            time.sleep(0)
        os.kill(child.pid, signal.SIGKILL)
        printed = [int(line) for line in child.stdout.read().split()] or [20]
    kept = TextStore(tmp_path).get("k", [str(n) for n in range(printed[-1] + 1)])
    assert len(kept) == printed[-1] + 1 and set(kept.values()) == {"x" * 2000}


def test_a_file_that_is_no_store_is_refused_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "texts.sqlite").write_text("shopping list " * 200)
    with pytest.raises(StoreError, match="`store`"):
        TextStore(tmp_path)
