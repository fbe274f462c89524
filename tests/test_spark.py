"""Spark gives the table that DuckDB gives, and a job outlives a worker that is killed."""

from __future__ import annotations

import threading
import time

import numpy as np
import pandas as pd
import pytest

import evalkit as ek
import spark_cluster
from test_summaries import ASK, pupils, same_bits

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(spark_cluster.absent()), reason=f"Spark: {spark_cluster.absent()}"),
    # What Spark itself says of pandas 3 and of its sockets.
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with spark_cluster.cluster(tmp_path_factory.mktemp("spark")) as running:
        yield running


def parts(folder, frame, files):
    for at in range(files):
        frame[at::files].to_parquet(folder / f"part-{at}.parquet", index=False)
    return str(folder)


@pytest.mark.parametrize(
    "more", [{}, {"weight": "weight"}, {"grid": 0.5, "bands": [30.0, 60.0]}], ids=str
)
def test_spark_and_duckdb_give_the_same_table(cluster, tmp_path, more):
    folder = parts(tmp_path, pupils(5000), 4)
    spark = ek.summaries(cluster.session.read.parquet(folder), **ASK, **more)
    duckdb = ek.summaries(folder, **ASK, **more)
    same_bits(spark, duckdb)
    pd.testing.assert_frame_equal(spark.table, duckdb.table, check_exact=True)


def test_scores_far_off_the_grid_agree_to_twelve_digits(cluster, tmp_path):
    frame = pupils(5000)
    frame["math"] = 1e6 + np.random.default_rng(5).normal(size=len(frame))
    folder = parts(tmp_path, frame, 4)
    spark = ek.summaries(cluster.session.read.parquet(folder), **ASK)
    duckdb = ek.summaries(folder, **ASK)
    np.testing.assert_allclose(spark.mean, duckdb.mean, rtol=1e-12)
    spread = np.sqrt(np.einsum("mii->mi", duckdb.cross))
    scale = spread[:, :, None] * spread[:, None, :]
    np.testing.assert_array_less(np.abs(spark.cross - duckdb.cross), 1e-12 * scale)


def test_nan_and_null_are_both_missing(cluster):
    rows = [("a", 1.0), ("a", None), ("a", float("nan")), ("b", 2.0), (None, 3.0)]
    frame = cluster.session.createDataFrame(rows, "town string, math double")
    sums = ek.summaries(
        frame, keys=["town"], score="math", provenance="synthetic", drop_null_keys=True
    )
    assert sums.n.tolist() == [1, 1]
    assert (sums.missing.rows.tolist(), sums.missing.keyless) == ([2], 1)


def test_the_job_outlives_a_killed_worker(cluster, tmp_path):
    frame = pd.concat([pupils(200_000, seed) for seed in range(5)])
    folder = parts(tmp_path, frame, 20)
    records = cluster.session.read.parquet(folder)
    tracker = cluster.session.sparkContext.statusTracker()
    made = []
    job = threading.Thread(target=lambda: made.append(ek.summaries(records, **ASK)))
    job.start()
    running = None
    while job.is_alive() and running is None:
        stages = [tracker.getStageInfo(stage) for stage in tracker.getActiveStageIds()]
        running = next((s for s in stages if s and 0 < s.numCompletedTasks < s.numTasks), None)
        time.sleep(0.005)
    assert running, "the job was over before a worker could be killed"
    cluster.kill(cluster.workers[0])
    assert job.is_alive()
    job.join(timeout=120)
    assert made, "the job did not come to an end"
    same_bits(made[0], ek.summaries(folder, **ASK))
    assert cluster.workers[0].poll() is not None
    assert cluster.workers[1].poll() is None
