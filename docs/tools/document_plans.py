"""Print docs/plan.schema.json: the JSON schema of plans."""

import json

from nocturne.steering.plan import plan_schema

if __name__ == "__main__":
    print(json.dumps(plan_schema(), indent=2, ensure_ascii=False))
