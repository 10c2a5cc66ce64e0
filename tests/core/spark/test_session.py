"""Every session is one that Nocturne can work with, whoever starts it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nocturne.core.errors import ServiceError
from nocturne.core.settings import load_settings
from nocturne.core.spark.session import map_on_executors, spark_session

SUBMITTED = """
import json
from nocturne.core.settings import load_settings
from nocturne.core.spark.session import spark_session
with spark_session(load_settings().spark, "test") as spark:
    spark.range(3).write.format("delta").save("table")
    names = ("spark.master", "spark.sql.shuffle.partitions", "spark.sql.session.timeZone", "spark.ui.enabled")
    conf = {name: spark.sparkContext.getConf().get(name) for name in names}
    print(json.dumps(conf | {"rows": spark.read.format("delta").load("table").count()}))
"""

START_AND_LIST = """
import os, sys
from nocturne.core.settings import load_settings
from nocturne.core.spark.session import spark_session
with spark_session(load_settings().spark, "test"):
    print(os.listdir(sys.argv[1]))
"""


def test_the_session_is_in_utc(spark):
    assert spark.sql("SELECT current_timezone()").first()[0] == "UTC"


def test_every_part_has_a_task_of_its_own_and_results_come_in_order(spark):
    driver = os.getpid()
    in_driver = map_on_executors(spark)(lambda part: (part, os.getpid() == driver), ["a", "b"])
    assert in_driver == [("a", False), ("b", False)]
    assert map_on_executors(spark)(len, []) == []


def test_an_error_of_ours_in_a_task_comes_out_as_it_was_raised(spark):
    def fail(part):
        raise ServiceError("the server does not serve", where=part, fix="mend it")

    with pytest.raises(ServiceError, match="where: b") as raised:
        map_on_executors(spark)(fail, ["b"])
    assert raised.value.status == 5
    assert str(raised.value).splitlines()[0] == "the server does not serve"


def test_a_delta_table_travels_back_in_time(spark, tmp_path):
    for rows in (1, 2):
        spark.range(rows).write.format("delta").mode("overwrite").save(str(tmp_path))
    assert spark.read.format("delta").option("versionAsOf", 0).load(str(tmp_path)).count() == 1


def test_python_workers_run_this_interpreter_with_one_blas_thread_each(spark):
    def facts(rows):
        yield sys.executable, os.environ["OPENBLAS_NUM_THREADS"], os.environ["OMP_NUM_THREADS"]

    assert spark.sparkContext.parallelize([0], 1).mapPartitions(facts).collect() == [(sys.executable, "1", "1")]


def test_the_driver_and_its_ui_answer_on_loopback_only(spark):
    assert spark.sparkContext.uiWebUrl.startswith("http://127.0.0.1:")
    assert spark.sparkContext.getConf().get("spark.driver.bindAddress") == "127.0.0.1"


def test_scratch_files_lie_where_tmpdir_says(tmp_path):
    program = [sys.executable, "-c", START_AND_LIST, str(tmp_path)]
    answer = subprocess.run(
        program, env=os.environ | {"TMPDIR": str(tmp_path)}, capture_output=True, text=True, check=True
    )
    assert "blockmgr-" in answer.stdout


def test_a_session_inside_a_session_is_the_same_and_stays_open(spark):
    with spark_session(load_settings().spark) as inner:
        assert inner is spark
    assert spark.range(2).count() == 2


@pytest.mark.slow
def test_spark_submit_decides_on_the_master_and_its_own_options_and_we_on_the_rest(tmp_path):
    script = tmp_path / "job.py"
    script.write_text(SUBMITTED)
    bin_folder = Path(sys.executable).parent
    command = ["spark-submit", "--master", "local[1]", "--conf", "spark.sql.shuffle.partitions=7", str(script)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYSPARK", "SPARK"))}
    environment["PATH"] = f"{bin_folder}:{environment['PATH']}"
    answer = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr[-2000:]
    assert json.loads(answer.stdout) == {
        "spark.master": "local[1]",
        "spark.sql.shuffle.partitions": "7",
        "spark.sql.session.timeZone": "UTC",
        "spark.ui.enabled": "false",
        "rows": 3,
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["job.py", "table"]
