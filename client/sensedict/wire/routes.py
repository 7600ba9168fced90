"""Where things are: routes under the service's root, and media types."""

from __future__ import annotations

JSON = "application/json"
SAFETENSORS = "application/vnd.safetensors"
PARQUET = "application/vnd.apache.parquet"
PROBLEM = "application/problem+json"

LATEST = "latest"  # the alias that a bare name means; publishing moves it

# Routes under the service's root. `ref` is `name@version` or `name@alias`.
DICTIONARIES = "/v1/dictionaries"
DICTIONARY = "/v1/dictionaries/{ref}"
TOKEN_SENSES = "/v1/dictionaries/{ref}/tokens/{token}/senses"
WORD_SENSES = "/v1/dictionaries/{ref}/senses"  # ?word=…&pos=…&neighbours=…
# ?word=…&type=…&direction=…&depth=…&source=…&rule=…&pos=…&limit=…&count=…
RELATIONS = "/v1/dictionaries/{ref}/relations"
RELATION = "/v1/dictionaries/{ref}/relations/{relation}"
PATH = "/v1/dictionaries/{ref}/path"  # ?word=…&other=…&type=…&direction=…
SENSE = "/v1/dictionaries/{ref}/senses/{sense}"
NEIGHBOURS = "/v1/dictionaries/{ref}/senses/{sense}/neighbours"  # ?limit=…
WORDS = "/v1/dictionaries/{ref}/words"  # ?prefix=…&limit=…
SENSE_MAP = "/v1/dictionaries/{ref}/map"  # ?word=…&related=…&neighbours=…
ID_MAP = "/v1/dictionaries/{ref}/idMap"  # ?to=…
ID_MAP_OF_WORD = "/v1/dictionaries/{ref}/idMap/senses"  # ?to=…&word=…
CANDIDATE_SETS = "/v1/dictionaries/{ref}:candidateSets"
GET_SENSES = "/v1/dictionaries/{ref}:getSenses"
NEAREST_SENSES = "/v1/dictionaries/{ref}:nearestSenses"
PUBLISH = "/v1/dictionaries/{ref}:publish"
DEPRECATE = "/v1/dictionaries/{ref}:deprecate"
PRUNE = "/v1/dictionaries/{name}:prune"
ALIAS = "/v1/dictionaries/{name}/aliases/{alias}"  # DELETE: ?reason=…
HISTORY = "/v1/dictionaries/{ref}/history"
USES = "/v1/dictionaries/{ref}/uses"
SNAPSHOT = "/v1/dictionaries/{ref}/snapshot"
SNAPSHOTS = "/v1/snapshots"  # ?as=…&lexicon_as=…&reason=…
VERIFY_SNAPSHOT = "/v1/snapshots:verify"
JOBS = "/v1/jobs"  # ?state=…&limit=…&cursor=…
JOB = "/v1/jobs/{job}"
CANCEL_JOB = "/v1/jobs/{job}:cancel"
LIMITS = "/v1/limits"
METRICS = "/metrics"
LIVEZ = "/livez"
READYZ = "/readyz"
