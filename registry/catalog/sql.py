"""What ``statements`` compiles to; written by ``python -m registry.catalog.statements``, not by hand."""

# fmt: off

BY_NUMBER = """
SELECT models.name, versions.id, versions.model_id, versions.number, versions.weights, versions.record,
versions.seal, versions.wrapper, versions.saved_as, versions.unwrapping, versions.world_size,
versions.model_class, versions.init, versions.init_as, versions.source_name, versions.source_sha256,
versions.source_format, versions.weights_key, versions.tensor_count, versions.parameter_count,
versions.byte_count, versions.dtypes, versions.parent, versions.note, versions.torch_version,
versions.git_commit, versions.creator, versions.created_at, versions.trashed_at, versions.purged_at,
versions.origin, (SELECT group_concat(aliases.name) AS group_concat_1 FROM aliases WHERE aliases.version_id =
versions.id) AS aliases, metrics."key" AS metric, metrics.value AS figure FROM (SELECT versions.id AS id FROM
versions WHERE versions.model_id = (SELECT models.id FROM models WHERE models.name = :name) AND
versions.number = :number) AS chosen JOIN versions ON versions.id = chosen.id JOIN models ON models.id =
versions.model_id LEFT OUTER JOIN metrics ON metrics.version_id = versions.id ORDER BY versions.id DESC,
metrics."key"
"""

BY_ALIAS = """
SELECT models.name, versions.id, versions.model_id, versions.number, versions.weights, versions.record,
versions.seal, versions.wrapper, versions.saved_as, versions.unwrapping, versions.world_size,
versions.model_class, versions.init, versions.init_as, versions.source_name, versions.source_sha256,
versions.source_format, versions.weights_key, versions.tensor_count, versions.parameter_count,
versions.byte_count, versions.dtypes, versions.parent, versions.note, versions.torch_version,
versions.git_commit, versions.creator, versions.created_at, versions.trashed_at, versions.purged_at,
versions.origin, (SELECT group_concat(aliases.name) AS group_concat_1 FROM aliases WHERE aliases.version_id =
versions.id) AS aliases, metrics."key" AS metric, metrics.value AS figure FROM (SELECT aliases.version_id AS
id FROM aliases WHERE aliases.model_id = (SELECT models.id FROM models WHERE models.name = :name) AND
aliases.name = :alias) AS chosen JOIN versions ON versions.id = chosen.id JOIN models ON models.id =
versions.model_id LEFT OUTER JOIN metrics ON metrics.version_id = versions.id ORDER BY versions.id DESC,
metrics."key"
"""

NEWEST = """
SELECT models.name, versions.id, versions.model_id, versions.number, versions.weights, versions.record,
versions.seal, versions.wrapper, versions.saved_as, versions.unwrapping, versions.world_size,
versions.model_class, versions.init, versions.init_as, versions.source_name, versions.source_sha256,
versions.source_format, versions.weights_key, versions.tensor_count, versions.parameter_count,
versions.byte_count, versions.dtypes, versions.parent, versions.note, versions.torch_version,
versions.git_commit, versions.creator, versions.created_at, versions.trashed_at, versions.purged_at,
versions.origin, (SELECT group_concat(aliases.name) AS group_concat_1 FROM aliases WHERE aliases.version_id =
versions.id) AS aliases, metrics."key" AS metric, metrics.value AS figure FROM (SELECT versions.id AS id FROM
versions WHERE versions.model_id = (SELECT models.id FROM models WHERE models.name = :name) AND
versions.trashed_at IS NULL ORDER BY versions.number DESC LIMIT 1 OFFSET 0) AS chosen JOIN
versions ON versions.id = chosen.id JOIN models ON models.id = versions.model_id LEFT OUTER JOIN metrics ON
metrics.version_id = versions.id ORDER BY versions.id DESC, metrics."key"
"""

NEWEST_IN_TRASH = """
SELECT models.name, versions.id, versions.model_id, versions.number, versions.weights, versions.record,
versions.seal, versions.wrapper, versions.saved_as, versions.unwrapping, versions.world_size,
versions.model_class, versions.init, versions.init_as, versions.source_name, versions.source_sha256,
versions.source_format, versions.weights_key, versions.tensor_count, versions.parameter_count,
versions.byte_count, versions.dtypes, versions.parent, versions.note, versions.torch_version,
versions.git_commit, versions.creator, versions.created_at, versions.trashed_at, versions.purged_at,
versions.origin, (SELECT group_concat(aliases.name) AS group_concat_1 FROM aliases WHERE aliases.version_id =
versions.id) AS aliases, metrics."key" AS metric, metrics.value AS figure FROM (SELECT versions.id AS id FROM
versions WHERE versions.model_id = (SELECT models.id FROM models WHERE models.name = :name) AND
versions.trashed_at IS NOT NULL AND versions.purged_at IS NULL ORDER BY versions.number DESC LIMIT 1
OFFSET 0) AS chosen JOIN versions ON versions.id = chosen.id JOIN models ON models.id =
versions.model_id LEFT OUTER JOIN metrics ON metrics.version_id = versions.id ORDER BY versions.id DESC,
metrics."key"
"""

BY_DIGEST = """
SELECT models.name, versions.id, versions.model_id, versions.number, versions.weights, versions.record,
versions.seal, versions.wrapper, versions.saved_as, versions.unwrapping, versions.world_size,
versions.model_class, versions.init, versions.init_as, versions.source_name, versions.source_sha256,
versions.source_format, versions.weights_key, versions.tensor_count, versions.parameter_count,
versions.byte_count, versions.dtypes, versions.parent, versions.note, versions.torch_version,
versions.git_commit, versions.creator, versions.created_at, versions.trashed_at, versions.purged_at,
versions.origin, (SELECT group_concat(aliases.name) AS group_concat_1 FROM aliases WHERE aliases.version_id =
versions.id) AS aliases, metrics."key" AS metric, metrics.value AS figure FROM (SELECT versions.id AS id FROM
versions WHERE versions.model_id = (SELECT models.id FROM models WHERE models.name = :name) AND
versions.trashed_at IS NULL AND versions.weights >= :low AND versions.weights < :high) AS chosen JOIN versions
ON versions.id = chosen.id JOIN models ON models.id = versions.model_id LEFT OUTER JOIN metrics ON
metrics.version_id = versions.id ORDER BY versions.id DESC, metrics."key"
"""

BY_DIGEST_IN_TRASH = """
SELECT models.name, versions.id, versions.model_id, versions.number, versions.weights, versions.record,
versions.seal, versions.wrapper, versions.saved_as, versions.unwrapping, versions.world_size,
versions.model_class, versions.init, versions.init_as, versions.source_name, versions.source_sha256,
versions.source_format, versions.weights_key, versions.tensor_count, versions.parameter_count,
versions.byte_count, versions.dtypes, versions.parent, versions.note, versions.torch_version,
versions.git_commit, versions.creator, versions.created_at, versions.trashed_at, versions.purged_at,
versions.origin, (SELECT group_concat(aliases.name) AS group_concat_1 FROM aliases WHERE aliases.version_id =
versions.id) AS aliases, metrics."key" AS metric, metrics.value AS figure FROM (SELECT versions.id AS id FROM
versions WHERE versions.model_id = (SELECT models.id FROM models WHERE models.name = :name) AND
versions.trashed_at IS NOT NULL AND versions.purged_at IS NULL AND versions.weights >= :low AND
versions.weights < :high) AS chosen JOIN versions ON versions.id = chosen.id JOIN models ON models.id =
versions.model_id LEFT OUTER JOIN metrics ON metrics.version_id = versions.id ORDER BY versions.id DESC,
metrics."key"
"""

LISTINGS = {
(False, False, False): """
SELECT models.name, versions.id, versions.model_id, versions.number, versions.weights, versions.record,
versions.seal, versions.wrapper, versions.saved_as, versions.unwrapping, versions.world_size,
versions.model_class, versions.init, versions.init_as, versions.source_name, versions.source_sha256,
versions.source_format, versions.weights_key, versions.tensor_count, versions.parameter_count,
versions.byte_count, versions.dtypes, versions.parent, versions.note, versions.torch_version,
versions.git_commit, versions.creator, versions.created_at, versions.trashed_at, versions.purged_at,
versions.origin, (SELECT group_concat(aliases.name) AS group_concat_1 FROM aliases WHERE aliases.version_id =
versions.id) AS aliases, metrics."key" AS metric, metrics.value AS figure FROM (SELECT versions.id AS id FROM
versions WHERE versions.trashed_at IS NULL ORDER BY versions.id DESC LIMIT :limit OFFSET 0) AS chosen
JOIN versions ON versions.id = chosen.id JOIN models ON models.id = versions.model_id LEFT OUTER JOIN metrics
ON metrics.version_id = versions.id ORDER BY versions.id DESC, metrics."key"
""",
(False, False, True): """
SELECT models.name, versions.id, versions.model_id, versions.number, versions.weights, versions.record,
versions.seal, versions.wrapper, versions.saved_as, versions.unwrapping, versions.world_size,
versions.model_class, versions.init, versions.init_as, versions.source_name, versions.source_sha256,
versions.source_format, versions.weights_key, versions.tensor_count, versions.parameter_count,
versions.byte_count, versions.dtypes, versions.parent, versions.note, versions.torch_version,
versions.git_commit, versions.creator, versions.created_at, versions.trashed_at, versions.purged_at,
versions.origin, (SELECT group_concat(aliases.name) AS group_concat_1 FROM aliases WHERE aliases.version_id =
versions.id) AS aliases, metrics."key" AS metric, metrics.value AS figure FROM (SELECT versions.id AS id FROM
versions JOIN metrics ON metrics.version_id = versions.id WHERE versions.trashed_at IS NULL AND metrics."key"
= :key AND metrics.value BETWEEN :low AND :high ORDER BY versions.id DESC LIMIT :limit OFFSET 0) AS
chosen JOIN versions ON versions.id = chosen.id JOIN models ON models.id = versions.model_id LEFT OUTER JOIN
metrics ON metrics.version_id = versions.id ORDER BY versions.id DESC, metrics."key"
""",
(False, True, False): """
SELECT models.name, versions.id, versions.model_id, versions.number, versions.weights, versions.record,
versions.seal, versions.wrapper, versions.saved_as, versions.unwrapping, versions.world_size,
versions.model_class, versions.init, versions.init_as, versions.source_name, versions.source_sha256,
versions.source_format, versions.weights_key, versions.tensor_count, versions.parameter_count,
versions.byte_count, versions.dtypes, versions.parent, versions.note, versions.torch_version,
versions.git_commit, versions.creator, versions.created_at, versions.trashed_at, versions.purged_at,
versions.origin, (SELECT group_concat(aliases.name) AS group_concat_1 FROM aliases WHERE aliases.version_id =
versions.id) AS aliases, metrics."key" AS metric, metrics.value AS figure FROM (SELECT versions.id AS id FROM
versions WHERE versions.trashed_at IS NOT NULL AND versions.purged_at IS NULL ORDER BY versions.id DESC LIMIT
:limit OFFSET 0) AS chosen JOIN versions ON versions.id = chosen.id JOIN models ON models.id =
versions.model_id LEFT OUTER JOIN metrics ON metrics.version_id = versions.id ORDER BY versions.id DESC,
metrics."key"
""",
(False, True, True): """
SELECT models.name, versions.id, versions.model_id, versions.number, versions.weights, versions.record,
versions.seal, versions.wrapper, versions.saved_as, versions.unwrapping, versions.world_size,
versions.model_class, versions.init, versions.init_as, versions.source_name, versions.source_sha256,
versions.source_format, versions.weights_key, versions.tensor_count, versions.parameter_count,
versions.byte_count, versions.dtypes, versions.parent, versions.note, versions.torch_version,
versions.git_commit, versions.creator, versions.created_at, versions.trashed_at, versions.purged_at,
versions.origin, (SELECT group_concat(aliases.name) AS group_concat_1 FROM aliases WHERE aliases.version_id =
versions.id) AS aliases, metrics."key" AS metric, metrics.value AS figure FROM (SELECT versions.id AS id FROM
versions JOIN metrics ON metrics.version_id = versions.id WHERE versions.trashed_at IS NOT NULL AND
versions.purged_at IS NULL AND metrics."key" = :key AND metrics.value BETWEEN :low AND :high ORDER BY
versions.id DESC LIMIT :limit OFFSET 0) AS chosen JOIN versions ON versions.id = chosen.id JOIN models
ON models.id = versions.model_id LEFT OUTER JOIN metrics ON metrics.version_id = versions.id ORDER BY
versions.id DESC, metrics."key"
""",
(True, False, False): """
SELECT models.name, versions.id, versions.model_id, versions.number, versions.weights, versions.record,
versions.seal, versions.wrapper, versions.saved_as, versions.unwrapping, versions.world_size,
versions.model_class, versions.init, versions.init_as, versions.source_name, versions.source_sha256,
versions.source_format, versions.weights_key, versions.tensor_count, versions.parameter_count,
versions.byte_count, versions.dtypes, versions.parent, versions.note, versions.torch_version,
versions.git_commit, versions.creator, versions.created_at, versions.trashed_at, versions.purged_at,
versions.origin, (SELECT group_concat(aliases.name) AS group_concat_1 FROM aliases WHERE aliases.version_id =
versions.id) AS aliases, metrics."key" AS metric, metrics.value AS figure FROM (SELECT versions.id AS id FROM
versions WHERE versions.trashed_at IS NULL AND versions.model_id = (SELECT models.id FROM models WHERE
models.name = :name) ORDER BY versions.number DESC LIMIT :limit OFFSET 0) AS chosen JOIN versions ON
versions.id = chosen.id JOIN models ON models.id = versions.model_id LEFT OUTER JOIN metrics ON
metrics.version_id = versions.id ORDER BY versions.id DESC, metrics."key"
""",
(True, False, True): """
SELECT models.name, versions.id, versions.model_id, versions.number, versions.weights, versions.record,
versions.seal, versions.wrapper, versions.saved_as, versions.unwrapping, versions.world_size,
versions.model_class, versions.init, versions.init_as, versions.source_name, versions.source_sha256,
versions.source_format, versions.weights_key, versions.tensor_count, versions.parameter_count,
versions.byte_count, versions.dtypes, versions.parent, versions.note, versions.torch_version,
versions.git_commit, versions.creator, versions.created_at, versions.trashed_at, versions.purged_at,
versions.origin, (SELECT group_concat(aliases.name) AS group_concat_1 FROM aliases WHERE aliases.version_id =
versions.id) AS aliases, metrics."key" AS metric, metrics.value AS figure FROM (SELECT versions.id AS id FROM
versions JOIN metrics ON metrics.version_id = versions.id WHERE versions.trashed_at IS NULL AND
versions.model_id = (SELECT models.id FROM models WHERE models.name = :name) AND metrics."key" = :key AND
metrics.value BETWEEN :low AND :high ORDER BY versions.number DESC LIMIT :limit OFFSET 0) AS chosen
JOIN versions ON versions.id = chosen.id JOIN models ON models.id = versions.model_id LEFT OUTER JOIN metrics
ON metrics.version_id = versions.id ORDER BY versions.id DESC, metrics."key"
""",
(True, True, False): """
SELECT models.name, versions.id, versions.model_id, versions.number, versions.weights, versions.record,
versions.seal, versions.wrapper, versions.saved_as, versions.unwrapping, versions.world_size,
versions.model_class, versions.init, versions.init_as, versions.source_name, versions.source_sha256,
versions.source_format, versions.weights_key, versions.tensor_count, versions.parameter_count,
versions.byte_count, versions.dtypes, versions.parent, versions.note, versions.torch_version,
versions.git_commit, versions.creator, versions.created_at, versions.trashed_at, versions.purged_at,
versions.origin, (SELECT group_concat(aliases.name) AS group_concat_1 FROM aliases WHERE aliases.version_id =
versions.id) AS aliases, metrics."key" AS metric, metrics.value AS figure FROM (SELECT versions.id AS id FROM
versions WHERE versions.trashed_at IS NOT NULL AND versions.purged_at IS NULL AND versions.model_id = (SELECT
models.id FROM models WHERE models.name = :name) ORDER BY versions.number DESC LIMIT :limit OFFSET 0)
AS chosen JOIN versions ON versions.id = chosen.id JOIN models ON models.id = versions.model_id LEFT OUTER
JOIN metrics ON metrics.version_id = versions.id ORDER BY versions.id DESC, metrics."key"
""",
(True, True, True): """
SELECT models.name, versions.id, versions.model_id, versions.number, versions.weights, versions.record,
versions.seal, versions.wrapper, versions.saved_as, versions.unwrapping, versions.world_size,
versions.model_class, versions.init, versions.init_as, versions.source_name, versions.source_sha256,
versions.source_format, versions.weights_key, versions.tensor_count, versions.parameter_count,
versions.byte_count, versions.dtypes, versions.parent, versions.note, versions.torch_version,
versions.git_commit, versions.creator, versions.created_at, versions.trashed_at, versions.purged_at,
versions.origin, (SELECT group_concat(aliases.name) AS group_concat_1 FROM aliases WHERE aliases.version_id =
versions.id) AS aliases, metrics."key" AS metric, metrics.value AS figure FROM (SELECT versions.id AS id FROM
versions JOIN metrics ON metrics.version_id = versions.id WHERE versions.trashed_at IS NOT NULL AND
versions.purged_at IS NULL AND versions.model_id = (SELECT models.id FROM models WHERE models.name = :name)
AND metrics."key" = :key AND metrics.value BETWEEN :low AND :high ORDER BY versions.number DESC LIMIT :limit
OFFSET 0) AS chosen JOIN versions ON versions.id = chosen.id JOIN models ON models.id =
versions.model_id LEFT OUTER JOIN metrics ON metrics.version_id = versions.id ORDER BY versions.id DESC,
metrics."key"
""",
}

COUNTS = {
False: """
SELECT count(*) AS versions FROM versions WHERE versions.trashed_at IS NULL
""",
True: """
SELECT count(*) AS versions FROM versions WHERE versions.trashed_at IS NOT NULL AND versions.purged_at IS NULL
""",
}

COUNTS_OF_MODEL = {
False: """
SELECT count(*) AS versions FROM versions WHERE versions.trashed_at IS NULL AND versions.model_id = (SELECT
models.id FROM models WHERE models.name = :name)
""",
True: """
SELECT count(*) AS versions FROM versions WHERE versions.trashed_at IS NOT NULL AND versions.purged_at IS NULL
AND versions.model_id = (SELECT models.id FROM models WHERE models.name = :name)
""",
}

MODEL_NAMES = """
SELECT models.name FROM models
"""

MODELS = """
SELECT models.name, count(*) AS live, max(versions.number) AS newest, max(versions.created_at) AS changed_at
FROM models JOIN versions ON versions.model_id = models.id WHERE versions.trashed_at IS NULL GROUP BY
models.id ORDER BY models.name
"""

ALIASES = """
SELECT models.name, aliases.name AS alias, versions.number FROM models JOIN aliases ON aliases.model_id =
models.id JOIN versions ON versions.id = aliases.version_id ORDER BY models.name, aliases.name
"""

ALIAS_NAMES = """
SELECT aliases.name FROM aliases WHERE aliases.model_id = (SELECT models.id FROM models WHERE models.name =
:name)
"""

VERSIONS_OF_MODEL = """
SELECT versions.number, versions.weights, versions.trashed_at, versions.purged_at FROM versions WHERE
versions.model_id = (SELECT models.id FROM models WHERE models.name = :name) ORDER BY versions.number
"""

VERSION = """
SELECT versions.id, versions.model_id, versions.trashed_at, versions.purged_at, versions.weights FROM versions
WHERE versions.model_id = (SELECT models.id FROM models WHERE models.name = :name) AND versions.number =
:number
"""

DOCUMENT = """
SELECT documents.body FROM documents JOIN versions ON versions.id = documents.version_id WHERE
versions.model_id = (SELECT models.id FROM models WHERE models.name = :name) AND versions.number = :number AND
documents.kind = :kind
"""

MODEL = """
SELECT models.id, models.next_number FROM models WHERE models.name = :name
"""

ADD_MODEL = """
INSERT INTO models (id, name, next_number) VALUES (:id, :name, :next_number)
"""

TAKE_NUMBER = """
UPDATE models SET next_number=(models.next_number + 1) WHERE models.id = :model
"""

SAME_WEIGHTS = """
SELECT versions.id, versions.number, versions.record, versions.model_class, versions.init, versions.init_as,
versions.unwrapping FROM versions WHERE versions.model_id = :model AND versions.weights = :weights AND
versions.trashed_at IS NULL ORDER BY versions.number DESC
"""

ADD_VERSION = """
INSERT INTO versions (id, model_id, number, weights, record, seal, wrapper, saved_as, unwrapping, world_size,
model_class, init, init_as, source_name, source_sha256, source_format, weights_key, tensor_count,
parameter_count, byte_count, dtypes, parent, note, torch_version, git_commit, creator, created_at, trashed_at,
purged_at, origin) VALUES (:id, :model_id, :number, :weights, :record, :seal, :wrapper, :saved_as,
:unwrapping, :world_size, :model_class, :init, :init_as, :source_name, :source_sha256, :source_format,
:weights_key, :tensor_count, :parameter_count, :byte_count, :dtypes, :parent, :note, :torch_version,
:git_commit, :creator, :created_at, :trashed_at, :purged_at, :origin)
"""

ADD_DOCUMENT = """
INSERT INTO documents (version_id, kind, body) VALUES (:version_id, :kind, :body)
"""

DOCUMENTS = """
SELECT documents.kind, documents.body FROM documents WHERE documents.version_id = :version
"""

REPLACE_MANIFEST = """
UPDATE documents SET body=:text WHERE documents.version_id = :version AND documents.kind = 'manifest'
"""

METRICS = """
SELECT metrics."key", metrics.value FROM metrics WHERE metrics.version_id = :version
"""

SET_METRIC = """
INSERT OR REPLACE INTO metrics (version_id, "key", value) VALUES (:version_id, :key, :value)
"""

NOTE = """
SELECT versions.note FROM versions WHERE versions.id = :version
"""

SET_NOTE = """
UPDATE versions SET note=:text WHERE versions.id = :version
"""

ALIASED = """
SELECT versions.id, versions.model_id, versions.number, versions.weights FROM versions JOIN aliases ON
aliases.version_id = versions.id WHERE aliases.model_id = (SELECT models.id FROM models WHERE models.name =
:name) AND aliases.name = :alias
"""

POINT_ALIAS = """
INSERT OR REPLACE INTO aliases (model_id, name, version_id) VALUES (:model_id, :name, :version_id)
"""

DROP_ALIAS = """
DELETE FROM aliases WHERE aliases.model_id = :model AND aliases.name = :alias
"""

ALIASES_OF_VERSION = """
SELECT aliases.name FROM aliases WHERE aliases.version_id = :version ORDER BY aliases.name
"""

MARK_TRASHED = """
UPDATE versions SET trashed_at=:at WHERE versions.id = :version
"""

MARK_PURGED = """
UPDATE versions SET purged_at=:at WHERE versions.id = :version
"""

TRASHED_BEFORE = """
SELECT versions.id, versions.model_id, models.name, versions.number, versions.weights FROM versions JOIN
models ON models.id = versions.model_id WHERE versions.trashed_at IS NOT NULL AND versions.purged_at IS NULL
AND versions.trashed_at < :before ORDER BY versions.id
"""

NEEDED_BY_OTHERS = """
SELECT DISTINCT blobs.digest FROM blobs JOIN version_blobs ON version_blobs.blob_id = blobs.id JOIN versions
ON versions.id = version_blobs.version_id WHERE versions.trashed_at IS NULL OR versions.trashed_at >= :before
"""

PURGE_NEEDS = """
DELETE FROM version_blobs WHERE version_blobs.version_id = :version
"""

PURGE_DOCUMENTS = """
DELETE FROM documents WHERE documents.version_id = :version
"""

PURGE_METRICS = """
DELETE FROM metrics WHERE metrics.version_id = :version
"""

LOCATE = """
SELECT stored_tensors.digest, blobs.digest AS blob, stored_tensors."offset" FROM stored_tensors JOIN blobs ON
blobs.id = stored_tensors.blob_id WHERE stored_tensors.digest IN (SELECT value FROM json_each(:digests))
"""

BLOB_IDS = """
SELECT blobs.digest, blobs.id FROM blobs WHERE blobs.digest IN (SELECT value FROM json_each(:digests))
"""

UNNEEDED_BLOB_IDS = """
SELECT blobs.digest, blobs.id FROM blobs WHERE blobs.digest IN (SELECT value FROM json_each(:digests)) AND
(blobs.id NOT IN (SELECT version_blobs.blob_id FROM version_blobs))
"""

NEEDED_BLOBS = """
SELECT blobs.digest FROM blobs WHERE blobs.id IN (SELECT version_blobs.blob_id FROM version_blobs)
"""

BLOB_TIMES = """
SELECT blobs.digest, blobs.created_at FROM blobs
"""

PLACES = """
SELECT stored_tensors.digest, blobs.digest AS blob, stored_tensors."offset" FROM stored_tensors JOIN blobs ON
blobs.id = stored_tensors.blob_id
"""

KNOWN_BLOBS = """
SELECT blobs.digest, blobs.nbytes FROM blobs
"""

BLOBS_OF_VERSION = """
SELECT blobs.digest FROM blobs JOIN version_blobs ON version_blobs.blob_id = blobs.id JOIN versions ON
versions.id = version_blobs.version_id WHERE versions.model_id = (SELECT models.id FROM models WHERE
models.name = :name) AND versions.number = :number
"""

TENSORS_OF_BLOB = """
SELECT stored_tensors.digest, stored_tensors."offset" FROM stored_tensors JOIN blobs ON blobs.id =
stored_tensors.blob_id WHERE blobs.digest = :blob
"""

DOCUMENTS_AFTER = """
SELECT documents.version_id, documents.body, versions.trashed_at FROM documents JOIN versions ON versions.id =
documents.version_id WHERE documents.version_id > :after AND documents.version_id <= :last
"""

LAST_VERSION = """
SELECT max(versions.id) AS last FROM versions
"""

SET_BLOB_SIZE = """
UPDATE blobs SET nbytes=:size WHERE blobs.digest = :blob
"""

ADD_BLOB = """
INSERT OR IGNORE INTO blobs (id, digest, nbytes, created_at) VALUES (:id, :digest, :nbytes, :created_at)
"""

ADD_TENSOR = """
INSERT OR IGNORE INTO stored_tensors (digest, blob_id, "offset") VALUES (:digest, :blob_id, :offset)
"""

ADD_NEED = """
INSERT OR IGNORE INTO version_blobs (version_id, blob_id) VALUES (:version_id, :blob_id)
"""

FORGET_TENSORS = """
DELETE FROM stored_tensors WHERE stored_tensors.blob_id = :blob
"""

FORGET_LOST_TENSORS = """
DELETE FROM stored_tensors WHERE (stored_tensors.blob_id NOT IN (SELECT blobs.id FROM blobs))
"""

FORGET_LOST_NEEDS = """
DELETE FROM version_blobs WHERE (version_blobs.blob_id NOT IN (SELECT blobs.id FROM blobs))
"""

FORGET_BLOB = """
DELETE FROM blobs WHERE blobs.id = :blob
"""

FACTS = """
SELECT models.name, versions.id, versions.model_id, versions.number, versions.weights, versions.record,
versions.seal, versions.wrapper, versions.saved_as, versions.unwrapping, versions.world_size,
versions.model_class, versions.init, versions.init_as, versions.source_name, versions.source_sha256,
versions.source_format, versions.weights_key, versions.tensor_count, versions.parameter_count,
versions.byte_count, versions.dtypes, versions.parent, versions.note, versions.torch_version,
versions.git_commit, versions.creator, versions.created_at, versions.trashed_at, versions.purged_at,
versions.origin FROM versions JOIN models ON models.id = versions.model_id WHERE versions.id = :version
"""

NEEDS = """
SELECT blobs.digest FROM blobs JOIN version_blobs ON version_blobs.blob_id = blobs.id WHERE
version_blobs.version_id = :version ORDER BY blobs.digest
"""

ROWS_AFTER = """
SELECT models.name, versions.id, versions.model_id, versions.number, versions.weights, versions.record,
versions.seal, versions.wrapper, versions.saved_as, versions.unwrapping, versions.world_size,
versions.model_class, versions.init, versions.init_as, versions.source_name, versions.source_sha256,
versions.source_format, versions.weights_key, versions.tensor_count, versions.parameter_count,
versions.byte_count, versions.dtypes, versions.parent, versions.note, versions.torch_version,
versions.git_commit, versions.creator, versions.created_at, versions.trashed_at, versions.purged_at,
versions.origin FROM versions JOIN models ON models.id = versions.model_id WHERE versions.id > :after ORDER BY
versions.id LIMIT 1000 OFFSET 0
"""

ROWS_OF_MODEL_AFTER = """
SELECT models.name, versions.id, versions.model_id, versions.number, versions.weights, versions.record,
versions.seal, versions.wrapper, versions.saved_as, versions.unwrapping, versions.world_size,
versions.model_class, versions.init, versions.init_as, versions.source_name, versions.source_sha256,
versions.source_format, versions.weights_key, versions.tensor_count, versions.parameter_count,
versions.byte_count, versions.dtypes, versions.parent, versions.note, versions.torch_version,
versions.git_commit, versions.creator, versions.created_at, versions.trashed_at, versions.purged_at,
versions.origin FROM versions JOIN models ON models.id = versions.model_id WHERE versions.id > :after AND
versions.model_id = (SELECT models.id FROM models WHERE models.name = :name) ORDER BY versions.id LIMIT
1000 OFFSET 0
"""

NEXT_NUMBERS = """
SELECT models.name, models.next_number FROM models
"""

NEXT_NUMBER_OF_MODEL = """
SELECT models.name, models.next_number FROM models WHERE models.name = :name
"""

ALIASES_OF_MODEL = """
SELECT models.name, aliases.name AS alias, versions.number FROM models JOIN aliases ON aliases.model_id =
models.id JOIN versions ON versions.id = aliases.version_id WHERE models.name = :name ORDER BY models.name,
aliases.name
"""

TRAIL_END = """
SELECT trail.length, trail.hash FROM trail
"""

ADD_EVENT = """
INSERT INTO events (id, at, actor, verb, name, reference, digest, details, previous, hash, facts) VALUES (:id,
:at, :actor, :verb, :name, :reference, :digest, :details, :previous, :hash, :facts)
"""

MOVE_TRAIL_END = """
UPDATE trail SET length=:length, hash=:hash
"""

EVENTS = """
SELECT events.id, events.at, events.actor, events.verb, events.name, events.reference, events.digest,
events.details, events.previous, events.hash, events.facts FROM events ORDER BY events.id DESC LIMIT :limit
OFFSET 0
"""

EVENTS_OF_MODEL = """
SELECT events.id, events.at, events.actor, events.verb, events.name, events.reference, events.digest,
events.details, events.previous, events.hash, events.facts FROM events WHERE events.name = :name ORDER BY
events.id DESC LIMIT :limit OFFSET 0
"""

EVENTS_AFTER = """
SELECT events.id, events.at, events.actor, events.verb, events.name, events.reference, events.digest,
events.details, events.previous, events.hash, events.facts FROM events WHERE events.id > :after ORDER BY
events.id LIMIT 5000 OFFSET 0
"""

EVENTS_OF_MODEL_AFTER = """
SELECT events.id, events.at, events.actor, events.verb, events.name, events.reference, events.digest,
events.details, events.previous, events.hash, events.facts FROM events WHERE events.id > :after AND
events.name = :name ORDER BY events.id LIMIT 5000 OFFSET 0
"""

PUSHES = """
SELECT count(*) AS pushes FROM events WHERE events.name = :name AND events.reference = :reference AND
events.verb = 'push'
"""

EVENT_COUNT = """
SELECT count(*) AS length FROM events
"""

LAST_EVENT = """
SELECT events.id, events.hash FROM events ORDER BY events.id DESC LIMIT 1 OFFSET 0
"""
