"""An archive of the classes that Java loads for Spark and Delta, so that every later Java starts with them.

python -m tests.tools.java_archive FILE
"""

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from pyspark import SparkContext

from nocturne.core.settings import load_settings
from nocturne.core.spark.session import spark_session


def main() -> None:
    """Write and read a Delta table, end Java, and put its archive in place."""
    file = Path(sys.argv[1]).absolute()
    part = file.with_suffix(".part")
    os.environ["JDK_JAVA_OPTIONS"] = f"-XX:TieredStopAtLevel=1 -XX:ArchiveClassesAtExit={part} -Xlog:disable"
    with TemporaryDirectory() as folder, spark_session(load_settings().spark, "archive") as spark:
        spark.createDataFrame([(1, "a")], "number int, name string").write.format("delta").save(f"{folder}/table")
        spark.read.format("delta").load(f"{folder}/table").groupBy("name").count().collect()
    java = SparkContext._gateway.proc  # type: ignore[union-attr]
    java.stdin.close()  # at which it ends
    java.wait()
    part.replace(file)


if __name__ == "__main__":
    main()
