from deployer.catalogue import PLUGINS, catalogue


def test_the_catalogue_holds_every_template_and_every_program_as_they_are():
    data = catalogue()
    assert {"deployment.yaml.j2", "route.yaml.j2", "ingress.yaml.j2", "basic_auth.ini.j2"} <= set(data.templates)
    assert set(data.plugins) == {path.name for path in PLUGINS.iterdir() if path.suffix in {".py", ".tsv"}}
    assert all(text.encode() == (PLUGINS / name).read_bytes() for name, text in data.plugins.items())


def test_the_catalogue_is_read_once():
    assert catalogue() is catalogue()
