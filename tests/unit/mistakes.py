"""A table of mistakes: the words on the command line, the files that they name, and the whole standard error."""

HEADER = "apiVersion: mlflow-deployer.github.io/v1alpha1\nkind: MLflowServer\n"
HELP = "Next: add --help to see every option"
CREATE_HELP = "Next: `deployer create --help` explains every flag"
LEAVE = "Next: leave it out"
HERE = "needs a cluster, and this server runs on this machine"
ELSEWHERE = "Next: leave it out, or add --target kubernetes"
NO_BUCKET = "needs a bucket, and this server keeps its artifacts on its volume"
ADD_BUCKET = "Next: add --bucket NAME, or leave it out"
ONE_LINE = "Next: use a file with the password alone, in printable ASCII characters"
MADE_FOR_YOU = "Next: leave --password-file out and one is made for you"
OPTIONS_OF = "Next: `deployer {} --help` explains every option"
DEFAULT = "Next: `--mlflow-version 3.17.2`"
NO_PROJECT = "Error: --create-project needs a cluster, and --target local is this machine"
SCHEMA = "Next: `deployer schema` prints every field"
NOT_PRINTED = "passwords are written to a new file, never printed"
NO_NAME = (
    "Error: '' cannot be a server's name: "
    "it must be a DNS label: lower-case letters, digits and '-', beginning with a letter"
)
NEW_FILE = "Next: give the path of a file that does not exist yet"
AN_ADDRESS = "needs the NAME of a server: an address says itself where it is"
OR_NO_ADDRESS = "Next: give a NAME, or leave it out"

# invalid YAML and the message about it
NOT_YAML = {
    "a:\n\tb: c\n": "line 2: has a tab: indent with blanks",
    "a: b\nc: d: e\n": "line 2: has a ':' where no key can stand: check the indentation, or put the text in quotes",
    "a: b\nc: 'd\n\n": "line 2: the quote that begins here is not closed",
    "a: {b: c\n\nd: e\n": "line 1: the { that begins here is not closed, or lacks a comma",
    "a: b\nc: [d\n": "line 2: the [ that begins here is not closed, or lacks a comma",
    "a: !!python/object:os.system b\n": (
        "line 1: has a tag, which begins with !: leave the tag out, or put the text in quotes"
    ),
    "a: b\n---\nc: d\n": "line 2: a second document begins here, and a spec file has one",
    "a: b\nc\n": "line 2: is neither a key with a ':' nor the value of one",
    "a: b\n- c\n": "line 2: is not YAML",
    "a: *b\n": "line 1: anchors and aliases are not allowed",
    "a: b\na: c\n": "line 2: key 'a' stands here twice",
}

FILES = {
    "port.yaml": f"{HEADER}spec:\n  local:\n    port: 80\n",
    "mistakes.yaml": f"{HEADER}spec:\n  workers: many\n  database:\n    type: postgress\n  volume: {{sise: 1Gi}}\n",
    "cluster.yaml": f"{HEADER}spec:\n  volume:\n    size: 20Gi\n  pod:\n    nodeSelector: {{a: b}}\n",
    "machine.yaml": f"{HEADER}spec:\n  local: {{port: 8080}}\n",
    "image.yaml": f"{HEADER}spec:\n  mlflow:\n    image: https://ghcr.io/a\n",
    "defaults.yaml": f"{HEADER}spec:\n  volume: {{size: 10Gi}}\n  workers: 0\n",
    "namespace.yaml": f"{HEADER}metadata: {{namespace: a}}\n",
    "sizes.yaml": f"{HEADER}spec:\n  volume: {{size: 10}}\n  maxRequestBody: 10\n",
    "texts.yaml": f"{HEADER}spec:\n  proxy: {{http: 'http://a.b', noProxy: 'a,b:0'}}\n"
    "  pod: {imageMirrors: {'': a}}\n",
    "two-lines": "first-password-line\nsecond-password-line\n",
    "binary": b"\xff\xfe\x00",
    "short": "short\n",
    "nothing": "",
    "long": "x" * 1025,
    "endless": "x" * (1 << 20),
}

# words of the command line -> all lines of standard error except the `Target:` line; exit code 2
MISTAKES = [
    # invalid values: the message names the flag, and has no words of a library
    ("create --port x", "Error: --port x: must be a whole number from 1024 to 65535", HELP),
    ("create --port 80", "Error: --port 80: must be a whole number from 1024 to 65535", HELP),
    ("create --port=", "Error: --port '': must be a whole number from 1024 to 65535", HELP),
    ("run --port 1e4", "Error: --port 1e4: must be a whole number from 1024 to 65535", HELP),
    ("create --workers 99", "Error: --workers 99: must be a whole number from 1 to 16", HELP),
    ("create --timeout soon", "Error: --timeout soon: must be a number of seconds, at least 1", HELP),
    ("create --timeout 0", "Error: --timeout 0: must be a number of seconds, at least 1", HELP),
    ("stop --timeout nan", "Error: --timeout nan: must be a number of seconds, at least 1", HELP),
    ("logs --tail -1", "Error: --tail -1: must be a whole number from 0 to 1000000", HELP),
    ("status --target Local", "Error: --target Local: must be local or kubernetes", HELP),
    ("status -o yaml", "Error: --output yaml: must be text or json", HELP),
    (
        "env --format bash",
        "Error: --format bash: must be shell, fish, powershell, cmd, dotenv, slurm, jupyter, docker or github",
        HELP,
    ),
    (
        "create --username a:b",
        ("Error: --username: must not contain ':', which ends the user name in HTTP basic authentication"),
        CREATE_HELP,
    ),
    (
        "create --default-permission read",
        "Error: --default-permission read: must be NO_PERMISSIONS, READ, EDIT or MANAGE",
        CREATE_HELP,
    ),
    ("create --mlflow-version 3", "Error: --mlflow-version 3: '3' is not a version like 3.17.2", DEFAULT),
    (
        "create --mlflow-version v3.17.2",
        "Error: --mlflow-version v3.17.2: 'v3.17.2' is not a version like 3.17.2",
        DEFAULT,
    ),
    (
        "create --mlflow-version 4.0.0",
        "Error: --mlflow-version 4.0.0: MLflow 4.0.0 is not supported by this release, which runs 3.17.x, 3.18.x",
        DEFAULT,
    ),
    (
        "create --bucket A",
        (
            "Error: --bucket A: must be 3 to 63 lower-case letters, digits, '.' and '-'; "
            "the first and the last no '.' or '-'"
        ),
        CREATE_HELP,
    ),
    (
        "create --bucket abc --s3-endpoint a3s.fi",
        "Error: --s3-endpoint: must be a URL such as https://a3s.fi",
        CREATE_HELP,
    ),
    ("create --bucket abc --transfer x", "Error: --transfer x: must be proxied or direct", CREATE_HELP),
    (
        "create --host a_b",
        "Error: --host a_b: must be a host name or an IP address of this machine, without scheme or port",
        CREATE_HELP,
    ),
    (
        "create --default-permission read --username a:b",
        "Error: the command line: 2 mistakes",
        "  --username: must not contain ':', which ends the user name in HTTP basic authentication",
        "  --default-permission read: must be NO_PERMISSIONS, READ, EDIT or MANAGE",
        CREATE_HELP,
    ),
    (
        "render --profile aws",
        "Error: --profile aws: there is no such profile",
        "Next: it is kubernetes, kind, openshift, rahti or lumi-k",
    ),
    (
        "render --host A.b",
        ("Error: --host A.b: must be a host name such as mlflow.example.org, in lower case, without scheme or port"),
        "Next: `deployer render --help` explains every flag",
    ),
    (
        "render -n A_b",
        "Error: --namespace A_b cannot be a namespace",
        "Next: it has lower-case letters, digits and '-', at most 63",
    ),
    (
        "list -n A_b",
        "Error: --namespace A_b cannot be a namespace",
        "Next: it has lower-case letters, digits and '-', at most 63",
    ),
    # flags that would change nothing
    *(
        (f"create {flag}", f"Error: {flag} {HERE}", LEAVE)
        for flag in (
            "--storage-class a",
            "--volume-size 20Gi",
            "--volume-size 10Gi",
            "--profile rahti",
            "--ingress-namespace edge",
        )
    ),
    *(
        (f"create {flag}", f"Error: {flag} {HERE}", ELSEWHERE)
        for flag in (
            "--tls-secret a",
            "--ingress-class a",
            "--gateway a/b",
            "--allow-from roihu",
            "--allow-everyone",
            "--expose none",
            "--expose route",
        )
    ),
    *(
        (f"{command} {flag}", f"Error: {flag} {NO_BUCKET}", ADD_BUCKET)
        for command in ("create", "run")
        for flag in ("--transfer direct", "--s3-region eu", "--s3-prefix a")
    ),
    ("create --s3-endpoint https://k:canary@a.b", f"Error: --s3-endpoint {NO_BUCKET}", ADD_BUCKET),
    ("create --make-bucket", f"Error: --make-bucket {NO_BUCKET}", ADD_BUCKET),
    (
        "create --csc-project 2001234",
        "Error: --csc-project 2001234 needs --create-project",
        "Next: add it, or leave both out",
    ),
    (
        "create --create-project -n a --target local",
        NO_PROJECT,
        "Next: leave one of the two out",
    ),
    ("create --create-project --target local", NO_PROJECT, "Next: leave one of the two out"),
    ("create --csc-project 2001234 --target local", NO_PROJECT, "Next: leave one of the two out"),
    (
        "create --create-project",
        "Error: --create-project needs the project's name",
        "Next: add -n NAME; names are global",
    ),
    (
        "list --target local --context a",
        "Error: --context a needs a cluster, and --target local is this machine",
        "Next: leave one of the two out",
    ),
    ("login https://a.b --target local", f"Error: --target local {AN_ADDRESS}", OR_NO_ADDRESS),
    ("logout https://a.b -n a", f"Error: --namespace a {AN_ADDRESS}", OR_NO_ADDRESS),
    ("logout --target local", f"Error: --target local {AN_ADDRESS}", OR_NO_ADDRESS),
    (
        "logout --username a",
        "Error: --username a needs --keyring: the file has room for one login",
        "Next: add it, or leave both out",
    ),
    ("verify a --tracking-uri https://a.b", "Error: a and --tracking-uri are two servers", "Next: leave one out"),
    ("verify --context a --tracking-uri https://a.b", f"Error: --context a {AN_ADDRESS}", OR_NO_ADDRESS),
    (
        "login --password-file short",
        "Error: --password-file needs --username, which says whose password it is",
        "Next: add --username NAME",
    ),
    (
        "render --host a.b --credentials out -f external.yaml",
        ("Error: --credentials needs --database-file: the Secrets hold the URLs of the databases"),
        None,
    ),
    # files: messages with line and path, and hints that fit
    (
        "create -f port.yaml",
        "Error: port.yaml: 1 mistake",
        "  line 5: spec.local.port: must be at least 1024",
        "Next: `deployer schema` prints every field",
    ),
    (
        "render -f mistakes.yaml",
        "Error: mistakes.yaml: 3 mistakes",
        "  line 4: spec.workers: must be a whole number",
        "  line 6: spec.database.type: must be sqlite or external",
        "  line 7: spec.volume.sise: unknown key; did you mean 'size'?",
        "Next: `deployer schema` prints every field",
    ),
    (
        "create -f cluster.yaml",
        "Error: cluster.yaml: 2 mistakes",
        f"  line 5: spec.volume.size: {HERE}",
        f"  line 7: spec.pod.nodeSelector: {HERE}",
        "Next: leave these lines out: they change nothing",
    ),
    (
        "render -f machine.yaml",
        "Error: machine.yaml: 1 mistake",
        "  line 4: spec.local.port: is for servers on this machine, and this one runs on a cluster",
        "Next: leave these lines out: they change nothing",
    ),
    (
        "render -f image.yaml",
        "Error: image.yaml: 1 mistake",
        (
            "  line 5: spec.mlflow.image: must be the reference of an image, which begins with a registry and has no "
            "scheme such as https://"
        ),
        "Next: `deployer schema` prints every field",
    ),
    (
        "create -f defaults.yaml",
        "Error: defaults.yaml: 1 mistake",
        "  line 5: spec.workers: must be at least 1",
        "Next: `deployer schema` prints every field",
    ),
    (
        "create -f missing.yaml",
        "Error: missing.yaml cannot be read as a spec file: there is no such file",
        "Next: `deployer init -f FILE` writes one to start from",
    ),
    (
        "create -f .",
        "Error: . cannot be read as a spec file: it is a directory",
        "Next: `deployer init -f FILE` writes one to start from",
    ),
    (
        "create --password-file missing",
        "Error: missing cannot be read as a password file: there is no such file",
        "Next: give the path of another",
    ),
    ("create --password-file two-lines", "Error: two-lines has 2 lines, and a password is one line", ONE_LINE),
    ("login a --username b --password-file two-lines", None),
    ("create --password-file binary", "Error: binary: the password is not text", ONE_LINE),
    (
        "create --password-file short",
        "Error: short: the password has 5 characters, MLflow needs at least 12",
        MADE_FOR_YOU,
    ),
    (
        "create --password-file nothing",
        "Error: nothing: the password is empty, MLflow needs at least 12 characters",
        MADE_FOR_YOU,
    ),
    (
        "rotate-password one --password-file long",
        "Error: long: the password is too long: it must have at most 1024 characters",
        MADE_FOR_YOU,
    ),
    *(
        (
            f"{command} --password-file endless",
            "Error: endless is too long: a password has at most 1024 characters",
            ONE_LINE,
        )
        for command in ("create", "rotate-password one", "login https://a.b --username c")
    ),
    (
        "render -f namespace.yaml",
        "Error: namespace.yaml: 1 mistake",
        "  line 3: metadata.namespace: unknown key; the namespace is given by -n",
        SCHEMA,
    ),
    (
        "render -f sizes.yaml",
        "Error: sizes.yaml: 2 mistakes",
        "  line 4: spec.volume.size: must be a size such as 8Gi",
        "  line 5: spec.maxRequestBody: must be a size such as 8Gi",
        SCHEMA,
    ),
    (
        "render -f texts.yaml",
        "Error: texts.yaml: 2 mistakes",
        "  line 4: spec.proxy.noProxy: item 2 (b:0) has a wrong port: a port is a number from 1 to 65535",
        "  line 5: spec.pod.imageMirrors.'': must be printable ASCII without blanks",
        SCHEMA,
    ),
    ("render -f -", "Error: standard input: 1 mistake", "  empty", "Next: `deployer init` writes a commented example"),
    *(
        (
            f"{command} --file=",
            "Error: '' cannot be read as a spec file: there is no such file",
            "Next: `deployer init -f FILE` writes one to start from",
        )
        for command in ("create", "render", "diff")
    ),
    # values and flags that were accepted without an effect
    *(
        ("render --credentials=" + path, f"Error: --credentials {path or repr('')}: {NOT_PRINTED}", NEW_FILE)
        for path in ("", "-")
    ),
    *(
        (
            f"{command} ",
            NO_NAME,
            "Next: try a name such as mlflow",
        )
        for command in ("verify", "diff")
    ),
    *(
        (
            f"{command} --user=",
            "Error: --user '': must not be empty, nor begin or end with a space",
            "Next: give the name of a user",
        )
        for command in ("show-password", "share")
    ),
    ("create --no-pin", f"Error: --no-pin {HERE}", ELSEWHERE),
    ("create --take-over", "Error: --take-over is for a server that exists, and 'mlflow' is a new one", LEAVE),
    ("create --force-conflicts", f"Error: --force-conflicts {HERE}", ELSEWHERE),
    # commands of other tools
    *(
        (f"{typed}", f"Error: there is no command {typed}; did you mean {meant}?", f"Next: `deployer {meant} --help`")
        for typed, meant in {
            "ls": "list",
            "destroy": "delete",
            "rm": "delete",
            "apply": "create",
            "up": "create",
            "down": "stop",
            "log": "logs",
            "crate": "create",
            "passwd": "show-password",
        }.items()
    ),
    # options and arguments that do not exist
    ("create --prot 7730", "Error: create has no --prot; did you mean --port?", OPTIONS_OF.format("create")),
    ("create --prot=7730", "Error: create has no --prot; did you mean --port?", OPTIONS_OF.format("create")),
    ("list --zzz", "Error: list has no --zzz", OPTIONS_OF.format("list")),
    ("list -z", "Error: list has no -z", OPTIONS_OF.format("list")),
    (
        "--versoin",
        "Error: deployer has no --versoin; did you mean --version?",
        "Next: `deployer --help` explains every option",
    ),
    ("create --port", "Error: --port needs a value", OPTIONS_OF.format("create")),
    ("delete --yes=no", "Error: --yes takes no value", OPTIONS_OF.format("delete")),
    ("list one", "Error: list takes no argument; one is too much", "Next: `deployer list --help`"),
    ("status one two", "Error: status takes NAME alone; two is too much", "Next: `deployer status --help`"),
    ("rotate-keys", "Error: rotate-keys needs KIND", OPTIONS_OF.format("rotate-keys")),
    ("--", "Error: deployer needs a command", "Next: `deployer --help` lists them"),
    ("frobnicate", "Error: there is no command frobnicate", "Next: `deployer --help` lists them"),
]
