"""Image encoders that others have trained, from `keras.applications`."""

import inspect
import warnings

import keras
from keras import ops

from ..errors import UserError, unknown_name


def names() -> list[str]:
    """Returns the names of the models of `keras.applications`."""
    return sorted(
        name for name, member in vars(keras.applications).items() if inspect.isfunction(member)
    )


class PretrainedEncoder(keras.layers.Layer):
    """The map of features that a model trained on ImageNet makes of an image; it learns no more.

    Args:
        model: a name of `keras.applications`, such as "MobileNetV2".
        image_shape: (height, width, channels), with one channel or three.
        download: whether to get its weights; not if others will be put in their place.

    Call arguments:
        images: (batch, height, width, channels), bytes.

    Returns:
        (batch, height', width', features).

    Raises:
        UserError: there is no such model, its weights cannot be downloaded, or the image is too
            small for it.
    """

    def __init__(
        self,
        model: str,
        image_shape: tuple[int, int, int],
        *,
        download: bool = True,
        name: str = "pretrained",
    ):
        super().__init__(name=name)
        if model not in names():
            raise UserError(unknown_name("value of --encoder", model, names()))
        make = getattr(keras.applications, model)
        weights, shape = "imagenet" if download else None, (*image_shape[:2], 3)
        try:
            with warnings.catch_warnings():
                # That weights of another size are taken: a convolution does not mind.
                warnings.simplefilter("ignore", UserWarning)
                self.model = make(include_top=False, weights=weights, input_shape=shape)
        except ValueError as error:
            raise UserError(f"--encoder {model} does not fit: {error}") from error
        except Exception as error:  # what Keras raises when a download fails
            if "URL fetch failure" not in str(error):
                raise
            raise UserError(
                f"--encoder {model}: its pretrained weights cannot be downloaded. Check the "
                "network, or leave --encoder out and train the convolution from scratch."
            ) from error
        self.model.trainable = False
        homes = filter(inspect.ismodule, vars(keras.applications).values())
        home = next(home for home in homes if getattr(home, model, None) is make)
        self.preprocess = home.preprocess_input

    def call(self, images, training=False):
        images = ops.cast(images, self.compute_dtype)
        if images.shape[-1] == 1:
            images = ops.repeat(images, 3, axis=-1)
        return self.model(self.preprocess(images), training=False)
