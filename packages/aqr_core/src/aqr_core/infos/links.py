"""From a keyframe to the one before it."""

from __future__ import annotations

from functools import cached_property

from aqr_core.errors import DataError
from aqr_core.infos.mmdet3d import Mmdet3dInfos
from aqr_core.infos.reader import Infos
from aqr_core.infos.schema import Info

_REMEMBERED = 64  # keyframes; a run of stuck ones asks for the same few again and again


class Links:
    """Finds previous keyframes. Where each token stands is looked up once, when somebody asks first."""

    def __init__(self, infos: Infos | Mmdet3dInfos) -> None:
        self._infos = infos
        self._recent: dict[str, Info] = {}

    def previous(self, info: Info) -> Info | None:
        """The keyframe before this one in the same scene; None for the first of a scene.

        Raises:
            DataError: the infos do not link keyframes, as those of mmdet3d, or lack the previous one.
        """
        if not info.prev and not info.scene:
            raise DataError(
                f"{self._infos.path} does not say which keyframe comes before '{info.token}', which a failure in time "
                "needs; build infos with `aqr prepare`."
            )
        if not info.prev:
            return None
        if info.prev not in self._position:
            raise DataError(
                f"{self._infos.path} holds keyframe '{info.token}' but not '{info.prev}' before it, which a failure in "
                "time needs; build infos of whole scenes with `aqr prepare`."
            )
        if info.prev not in self._recent:
            if len(self._recent) >= _REMEMBERED:
                self._recent.clear()
            self._recent[info.prev] = self._infos[self._position[info.prev]]
        return self._recent[info.prev]

    @cached_property
    def _position(self) -> dict[str, int]:
        return {token: position for position, token in enumerate(self._infos.tokens())}
