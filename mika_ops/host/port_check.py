"""Whether a value has the methods of a port."""

import inspect


def mismatch(where: str, port: type, value: object) -> str | None:
    """Return why a value does not fit a port, or ``None`` if it does."""
    if isinstance(value, type):
        return f"{where} is the class {value.__name__}: supply an object, or lazily({value.__name__})"
    missing = [name for name in methods_of(port) if not callable(getattr(value, name, None))]
    if not missing:
        return None
    wanted = ", ".join(f"{name}{_parameters(port, name)}" for name in missing)
    hint = (
        f", or from_function({port.__name__}, …)"
        if callable(value) and len(methods_of(port)) == 1
        else f": see mika_ops.ports.{port.__name__}"
    )
    plural = "s" if len(missing) > 1 else ""
    return f"{where} is {describe(value)} without the method{plural} {wanted}{hint}"


def methods_of(port: type) -> list[str]:
    """Return the names of a port's methods, in the order in which they are written."""
    return [
        name
        for base in reversed(port.__mro__)
        for name, value in vars(base).items()
        if inspect.isfunction(value) and not name.startswith("_")
    ]


def _parameters(port: type, method: str) -> str:
    """Return a method's parameters by name alone: ``(selection, *, after, limit)``."""
    signature = inspect.signature(getattr(port, method))
    bare = [
        parameter.replace(annotation=inspect.Parameter.empty, default=inspect.Parameter.empty)
        for parameter in list(signature.parameters.values())[1:]
    ]
    return str(inspect.Signature(bare))


def describe(value: object) -> str:
    return f"a function ({value.__name__})" if inspect.isfunction(value) else f"a {type(value).__name__}"
