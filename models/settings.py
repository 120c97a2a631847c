"""Every setting of Regbench, read from the environment (prefix `REGBENCH_`) or a `.env` file."""

import re
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote

from pydantic import AfterValidator, Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

# `regbench up` runs its parts in another folder, so relative paths are resolved where they are read.
AbsolutePath = Annotated[Path, AfterValidator(lambda path: expand_path(str(path)))]

_MIN_KEY_CHARACTERS = 32


def expand_path(path: str) -> Path:
    """The absolute path, with `~` for the user's home folder."""
    try:
        return Path(path).expanduser().absolute()
    except RuntimeError:
        raise ValueError(f"{path} is in the home folder of an unknown user") from None


class Settings(BaseSettings):
    """One typed object for the whole service; addresses default to the embedded parts inside `home`."""

    model_config = SettingsConfigDict(
        env_prefix="REGBENCH_",
        env_file=".env",
        # Windows' editors begin a file with a byte order mark.
        env_file_encoding="utf-8-sig",
        # `REGBENCH_DATA_DIR=` means none, not the working folder.
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
    )

    home: AbsolutePath = Field(
        Path(".regbench"),
        validate_default=True,
        description="Folder of the embedded database, broker and artifacts",
    )
    database_url: str = Field("", description="SQLAlchemy address; empty: SQLite inside HOME")
    broker_url: str = Field("", description="Redis address; empty: the embedded Redis's socket inside HOME")
    artifacts_url: str = Field("", description="fsspec address for models and predictions; empty: in HOME")
    data_dir: AbsolutePath | None = Field(
        None,
        description="Folder with mnist.npz, fashion_mnist.npz or MNIST's four IDX files (gzipped or not)",
    )
    worker_concurrency: int = Field(
        0, ge=0, le=256, description="Training processes of one worker; 0: one for each CPU core"
    )
    training_threads: int = Field(
        1, ge=1, le=256, description="CPU threads of one training process; part of the engine's identity"
    )
    training_memory_mb: int = Field(
        1_300,
        ge=1_000,
        description="Resident megabytes after which a training process is replaced once its job has ended",
    )
    chunk_seconds: float = Field(
        1.0,
        gt=0,
        le=60,
        description="Seconds between updates of progress and lease, and checks for cancellation",
    )
    checkpoint_seconds: float = Field(
        5.0,
        ge=0,
        le=3600,
        description="Minimum seconds between two checkpoints of a job; 0: after every epoch",
    )
    lease_seconds: float = Field(
        30.0, gt=0, le=3600, description="Seconds after which the lease of a job expires unless renewed"
    )
    sweep_seconds: float = Field(
        5.0,
        gt=0,
        le=3600,
        description="Seconds between a worker's sweeps for abandoned and undispatched jobs",
    )
    redispatch_seconds: float = Field(
        30.0,
        gt=0,
        le=3600,
        description="Seconds after which a worker sends another message for a job that is still queued",
    )
    keep_artifacts_days: float = Field(
        0.0,
        ge=0,
        le=36_500,
        description="Days after which a finished job's model and predictions are removed; 0: never",
    )
    keep_datasets_days: float = Field(
        0.0,
        ge=0,
        le=36_500,
        description="Days without a job after which `regbench prune` removes an uploaded dataset; 0: never",
    )
    max_parameters: int = Field(20_000_000, ge=1, description="Maximum parameters of a job's network")
    max_training_flops: float = Field(1e16, gt=0, description="Maximum floating-point operations of a job")
    max_memory_mb: int = Field(
        4_000,
        ge=1,
        description="Maximum megabytes of a job's images, weights and batches; each training process "
        "takes about 1,100 more",
    )
    max_experiment_jobs: int = Field(2_000, ge=1, description="Maximum jobs of one experiment")
    max_body_bytes: int = Field(65_536, ge=1024, description="Maximum bytes of a request body")
    max_batch_jobs: int = Field(1_000, ge=1, description="Maximum jobs of one batch")
    max_batch_bytes: int = Field(4_194_304, ge=1024, description="Maximum bytes of a batch's request body")
    max_streams: int = Field(
        500, ge=1, le=100_000, description="Maximum clients that follow jobs concurrently in one API process"
    )
    max_streams_per_owner: int = Field(
        100, ge=1, description="Maximum of these clients of one owner, where keys are required"
    )
    stream_seconds: float = Field(
        0.5, gt=0, le=60, description="Seconds between an API process's polls of the jobs that clients follow"
    )
    max_webhooks: int = Field(20, ge=1, description="Maximum webhooks of one owner")
    webhook_private_addresses: bool = Field(
        False, description="Whether webhooks may use private and loopback addresses, and http"
    )
    encryption_keys: str = Field(
        "",
        repr=False,
        description="Keys of 32 characters or more, separated by commas: the first encrypts webhooks' "
        "secrets in the database, all decrypt them; empty: they are stored as they are",
    )
    api_keys_required: Literal["auto", "true", "false"] = Field(
        "auto",
        description="Whether requests need an API key; auto: yes, unless `regbench up` serves loopback only",
    )
    allowed_hosts: str = Field(
        "",
        description="If keys are not required: host names, separated by commas, that the service accepts "
        "besides loopback ones; `*`: any",
    )
    root_path: str = Field(
        "",
        description="Path prefix under which a proxy serves the API, such as `/regbench`",
    )
    cors_origins: str = Field(
        "",
        description="Origins of web pages, separated by commas, whose scripts may call the API, such as "
        "`https://lab.example`",
    )
    max_reads_per_minute: int = Field(
        6_000, ge=0, description="Maximum reads per minute of one key, in each API process; 0: unlimited"
    )
    max_writes_per_minute: int = Field(
        600, ge=0, description="Maximum writes per minute of one key, in each API process; 0: unlimited"
    )
    max_queued_jobs: int = Field(0, ge=0, description="Maximum queued jobs of one owner; 0: unlimited")
    max_running_jobs: int = Field(
        0, ge=0, description="Maximum running jobs of one owner; further ones wait; 0: unlimited"
    )
    max_flops_per_day: float = Field(
        0.0,
        ge=0,
        description="Maximum floating-point operations of one owner in 24 hours; 0: unlimited",
    )
    max_upload_bytes: int = Field(
        4_194_304, ge=1024, description="Maximum bytes of a request body with images to predict"
    )
    max_dataset_bytes: int = Field(
        1_073_741_824, ge=1024, description="Maximum bytes of a request body with a dataset"
    )
    max_datasets: int = Field(50, ge=0, description="Maximum uploaded datasets of one owner")
    max_datasets_mb: int = Field(
        4_000, ge=1, description="Maximum megabytes of pixels of one owner's uploaded datasets"
    )
    prediction_seconds: float = Field(
        10.0, gt=0, le=600, description="Seconds that a request waits for predictions"
    )
    max_predictions_per_owner: int = Field(
        16,
        ge=1,
        description="Maximum requests of one owner that wait for predictions in one API process (32 in all), "
        "where keys are required",
    )
    predictor_models: int = Field(
        10,
        ge=1,
        le=1000,
        description="Models that the predictor keeps loaded (least recently used are evicted)",
    )

    log_format: Literal["text", "json"] = Field(
        "text", description="Form of the lines that API, workers and predictor log"
    )
    tracing: Literal["off", "otlp", "log"] = Field(
        "off",
        description="Where API, workers, predictor send OpenTelemetry's spans: to "
        "OTEL_EXPORTER_OTLP_ENDPOINT, or into the log",
    )

    @field_validator("database_url")
    @classmethod
    def _resolve_sqlite_path(cls, url: str) -> str:
        driver, separator, path = url.partition(":///")
        if not (driver.startswith("sqlite") and path) or path.startswith(("/", ":memory:", "file:")):
            return url
        if path.startswith("~"):
            user, slash, path = path.partition("/")
            return f"{driver}{separator}{quote(str(expand_path(user)))}{slash}{path}"
        return f"{driver}{separator}{quote(str(Path.cwd()))}/{path}"

    @field_validator("home")
    @classmethod
    def _refuse_chained_path(cls, path: Path) -> Path:
        # fsspec, which stores the artifacts, reads `::` as the end of an address.
        if "::" in str(path):
            raise ValueError(f"{path} contains '::'; choose a folder without it")
        return path

    @field_validator("root_path")
    @classmethod
    def _refuse_ambiguous_prefix(cls, path: str) -> str:
        # Under /jobs, /jobs/1 might be one path or the other.
        taken = "v1|jobs|experiments|new|try|learn|compare|static|log(in|out)|problems|docs|metrics"
        if path and not re.fullmatch(rf"(?!/({taken})(/|$))(/[A-Za-z0-9._~-]+)+", path):
            raise ValueError(f"{path} is no path prefix such as /regbench, or begins as one of the service")
        return path

    @field_validator("encryption_keys")
    @classmethod
    def _refuse_short_keys(cls, keys: str) -> str:
        if any(len(key.strip()) < _MIN_KEY_CHARACTERS for key in keys.split(",") if keys):
            raise ValueError(f"a key has fewer than {_MIN_KEY_CHARACTERS} characters: openssl rand -hex 32")
        return keys

    @field_validator("tracing")
    @classmethod
    def _require_packages(cls, tracing: str) -> str:
        if tracing != "off" and not find_spec("opentelemetry"):
            raise ValueError("needs OpenTelemetry: pip install 'regbench[opentelemetry]'")
        return tracing

    @field_validator("artifacts_url")
    @classmethod
    def _resolve_artifacts_path(cls, url: str) -> str:
        path = url.removeprefix("file://")
        if not path or "://" in path:
            return url
        return f"file://{cls._refuse_chained_path(expand_path(path))}"

    @property
    def allowed_origins(self) -> frozenset[str]:
        """The origins in `cors_origins`."""
        return frozenset(origin.strip().rstrip("/") for origin in self.cors_origins.split(",")) - {""}

    @property
    def resolved_database_url(self) -> str:
        """The SQLAlchemy address, by default that of the embedded SQLite file."""
        # Quoted: a `?` or `%` in the folder's name would be read as part of an address.
        if self.database_url.startswith("postgres://"):
            # As hosting services write it; SQLAlchemy knows the long form only.
            return self.database_url.replace("postgres://", "postgresql+psycopg://", 1)
        return self.database_url or f"sqlite:///{quote(str(self.home / 'regbench.db'))}"

    @property
    def redis_socket(self) -> Path:
        """The socket of the embedded Redis."""
        return self.home / "redis.sock"

    @property
    def resolved_broker_url(self) -> str:
        """The Celery broker's address, by default the embedded Redis's socket.

        TLS without a check of the certificate, kombu's default, would not protect against an impostor.
        """
        url = self.broker_url or f"redis+socket://{self.redis_socket}"
        if url.startswith("rediss") and "ssl_cert_reqs=" not in url:
            url += f"{'&' if '?' in url else '?'}ssl_cert_reqs=required"
        return url

    @property
    def resolved_artifacts_url(self) -> str:
        """The fsspec address of the artifacts, by default a folder inside `home`."""
        return self.artifacts_url or f"file://{self.home / 'artifacts'}"


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The process's settings, read once."""
    return Settings()
