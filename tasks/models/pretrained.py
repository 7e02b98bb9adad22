"""Pretrained image encoders from `keras.applications`."""

import inspect
import warnings

import keras
from keras import ops

from rnn_topologies.layers.typing import Tensor

from ..errors import UserError, unknown_name


def pretrained_model_names() -> list[str]:
    """Returns the names of the models in `keras.applications`."""
    return sorted(
        name for name, member in vars(keras.applications).items() if inspect.isfunction(member)
    )


class PretrainedEncoder(keras.layers.Layer):
    """The feature map of an image under a frozen model that was trained on ImageNet.

    Args:
        model_name: name in `keras.applications`, such as "MobileNetV2".
        image_shape: (height, width, channels), with one channel or three.
        download: whether to download the weights; false if weights are loaded afterwards.

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
        model_name: str,
        image_shape: tuple[int, int, int],
        *,
        download: bool = True,
        name: str = "pretrained",
    ):
        super().__init__(name=name)
        if model_name not in pretrained_model_names():
            raise UserError(
                unknown_name("value of --encoder", model_name, pretrained_model_names())
            )
        build = getattr(keras.applications, model_name)
        weights, input_shape = "imagenet" if download else None, (*image_shape[:2], 3)
        try:
            with warnings.catch_warnings():
                # Keras warns that the weights were trained at another image size. Convolutions
                # do not care.
                warnings.simplefilter("ignore", UserWarning)
                self.model = build(include_top=False, weights=weights, input_shape=input_shape)
        except ValueError as error:
            raise UserError(f"--encoder {model_name} does not fit: {error}") from error
        except Exception as error:  # Keras raises a bare Exception if a download fails
            if "URL fetch failure" not in str(error):
                raise
            raise UserError(
                f"--encoder {model_name}: its pretrained weights cannot be downloaded. Check the "
                "network, or leave out --encoder to train the convolutions from scratch."
            ) from error
        self.model.trainable = False
        modules = filter(inspect.ismodule, vars(keras.applications).values())
        module = next(module for module in modules if getattr(module, model_name, None) is build)
        self.preprocess = module.preprocess_input

    def call(self, images: Tensor, training: bool = False) -> Tensor:
        images = ops.cast(images, self.compute_dtype)
        if images.shape[-1] == 1:
            images = ops.repeat(images, 3, axis=-1)
        return self.model(self.preprocess(images), training=False)
