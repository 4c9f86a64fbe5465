"""Injects a fault into every process of a run; Python imports this by itself from PYTHONPATH.

``QSMBIDS_FAULT=<node>:<kind>`` strikes when the node is about to run (``kill``, ``memory``,
``sleep``) or has just run (``kill-after``). With ``QSMBIDS_FAULT_ONCE=<file>`` it strikes once.
Figures of reports are left out, for they take longer than the small runs.
"""

import importlib.abc
import importlib.util
import os
import signal
import sys
import time


def _strike(folder, kinds):
    node, _, kind = os.environ.get("QSMBIDS_FAULT", "").partition(":")
    if kind not in kinds or os.path.basename(str(folder)) != node:
        return
    if once := os.environ.get("QSMBIDS_FAULT_ONCE"):
        try:
            os.close(os.open(once, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
    if kind.startswith("kill"):
        os.kill(os.getpid(), signal.SIGKILL)
    elif kind == "sleep":
        time.sleep(600)
    elif kind == "memory":
        bytearray(1 << 62)


def _patch_steps(module):
    run = module.Step.run

    def struck(self, cwd=None, **kwargs):
        _strike(cwd, ("kill", "memory", "sleep"))
        result = run(self, cwd=cwd, **kwargs)
        _strike(cwd, ("kill-after",))
        return result

    module.Step.run = struck


def _patch_page(module):
    module.make_figures = lambda *_, **__: []


_patches = {"qsmbids.interfaces.base": _patch_steps, "qsmbids.reports.run.page": _patch_page}


class _Patcher(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        patch = _patches.pop(name, None)
        if patch is None:
            return None
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            patch(module)

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, _Patcher())
