from deployer.catalogue import PLUGINS, PROGRAMS, catalogue


def test_the_catalogue_holds_every_template_and_program_unchanged():
    data = catalogue()
    assert {"deployment.yaml.j2", "route.yaml.j2", "ingress.yaml.j2", "basic_auth.ini.j2"} <= set(data.templates)
    assert {"launch.py", "auth/gate.py", "permissions/routes.tsv", "seams.tsv"} <= set(data.plugins)
    assert all(text.encode() == (PLUGINS / name).read_bytes() for name, text in data.plugins.items())
    assert set(data.programs) == {"__init__.py", "recover.py", "register.py", "trial.py"}
    assert all(text.encode() == (PROGRAMS / name).read_bytes() for name, text in data.programs.items())


def test_the_catalogue_is_read_once():
    assert catalogue() is catalogue()
