// The kernel as two targets of XLA's foreign function interface, for JAX.
//
// The structures match xla/ffi/api/c_api.h, version 0.x, up to the last field that is read here.
// XLA passes the size of each structure, so that later versions can append fields.
#include <cstddef>

#include "interface.h"

namespace {

constexpr int METADATA = 1, INVALID_ARGUMENT = 3, BUFFER = 1, ARRAY = 1, FLOAT = 11, PRED = 1;
constexpr int INT64 = 5;

struct Extension {
  size_t struct_size;
  int type;
  Extension *next;
};

struct Version {
  size_t struct_size;
  Extension *extensions;
  int major, minor;
};

struct Error;
struct ErrorArguments {
  size_t struct_size;
  Extension *extensions;
  const char *message;
  int code;
};

struct Api {
  size_t struct_size;
  Extension *extensions;
  Version version;
  const void *internal;
  Error *(*create_error)(ErrorArguments *);
};

struct Metadata {
  size_t struct_size;
  Version version;
};

struct MetadataExtension {
  Extension base;
  Metadata *metadata;
};

struct Buffer {
  size_t struct_size;
  Extension *extensions;
  int type;
  void *data;
  int64_t rank;
  int64_t *sizes;
};

struct Numbers {
  int type;
  size_t size;
  const int64_t *data;
};

struct List {
  size_t struct_size;
  Extension *extensions;
  int64_t size;
  int *types;
  void **items;
};

struct Attributes {
  size_t struct_size;
  Extension *extensions;
  int64_t size;
  int *types;
  void **names;
  void **items;
};

struct Frame {
  size_t struct_size;
  Extension *extensions;
  const Api *api;
  void *context;
  int stage;
  List inputs, outputs;
  Attributes attributes;
};

Error *fail(const Frame *frame, const char *message) {
  ErrorArguments arguments = {sizeof arguments, nullptr, message, INVALID_ARGUMENT};
  return frame->api->create_error(&arguments);
}

const char *read_arrays(const List &list, int64_t count, RnnArray *arrays) {
  if (list.size != count) return "wrong number of arrays";
  for (int64_t i = 0; i < count; i++) {
    if (list.types[i] != BUFFER) return "not an array";
    const Buffer &buffer = *static_cast<Buffer *>(list.items[i]);
    if (buffer.type != FLOAT && buffer.type != PRED) return "arrays must be float32, masks bool";
    if (buffer.rank > 3) return "an array has more than three axes";
    arrays[i].data = buffer.data;
    arrays[i].rank = buffer.rank;
    for (int64_t axis = 0; axis < buffer.rank; axis++) arrays[i].sizes[axis] = buffer.sizes[axis];
  }
  return nullptr;
}

template <int INPUTS, int OUTPUTS>
Error *call(Frame *frame, const char *(*run)(const int64_t *, const RnnArray *, const RnnArray *)) {
  for (Extension *extension = frame->extensions; extension; extension = extension->next)
    if (extension->type == METADATA) {  // XLA asks for the version that this was written for
      Metadata *metadata = reinterpret_cast<MetadataExtension *>(extension)->metadata;
      metadata->version = {sizeof(Version), nullptr, 0, frame->api->version.minor};
      return nullptr;
    }
  const Attributes &attributes = frame->attributes;
  if (attributes.size != 1 || attributes.types[0] != ARRAY)
    return fail(frame, "expected one attribute, `settings`");
  const Numbers &settings = *static_cast<Numbers *>(attributes.items[0]);
  if (settings.type != INT64 || settings.size != 3)
    return fail(frame, "`settings` must be three int64");
  RnnArray inputs[INPUTS] = {}, outputs[OUTPUTS] = {};
  const char *error = read_arrays(frame->inputs, INPUTS, inputs);
  if (!error) error = read_arrays(frame->outputs, OUTPUTS, outputs);
  if (!error) error = run(settings.data, inputs, outputs);
  return error ? fail(frame, error) : nullptr;
}

}  // namespace

void *rnn_topologies_xla_forward(void *frame) {
  return call<7, 4>(static_cast<Frame *>(frame), rnn_topologies_forward);
}

void *rnn_topologies_xla_backward(void *frame) {
  return call<12, 6>(static_cast<Frame *>(frame), rnn_topologies_backward);
}
