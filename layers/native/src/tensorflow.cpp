// The kernel as two TensorFlow operations, `RnnTopologies>Forward` and `RnnTopologies>Backward`.
//
// They are registered through TensorFlow's C API (tensorflow/c/kernels.h and ops.h), whose
// functions are looked up when this library is loaded: building it does not require TensorFlow,
// and without TensorFlow nothing is registered.
#include <dlfcn.h>

#include <cstddef>

#include "interface.h"

namespace {

struct Tensor;
struct Status;
struct Context;
struct Construction;
struct OpBuilder;
struct KernelBuilder;
struct ShapeContext;

// TF_DataType and TF_Code
constexpr int FLOAT = 1, OK = 0, INVALID_ARGUMENT = 3;

// The functions of TensorFlow's C API in use, with their types.
#define FUNCTIONS(FUNCTION)                                                                   \
  FUNCTION(Status *, TF_NewStatus, ())                                                        \
  FUNCTION(void, TF_DeleteStatus, (Status *))                                                 \
  FUNCTION(void, TF_SetStatus, (Status *, int, const char *))                                 \
  FUNCTION(int, TF_GetCode, (const Status *))                                                 \
  FUNCTION(OpBuilder *, TF_NewOpDefinitionBuilder, (const char *))                            \
  FUNCTION(void, TF_OpDefinitionBuilderAddAttr, (OpBuilder *, const char *))                  \
  FUNCTION(void, TF_OpDefinitionBuilderAddInput, (OpBuilder *, const char *))                 \
  FUNCTION(void, TF_OpDefinitionBuilderAddOutput, (OpBuilder *, const char *))                \
  FUNCTION(void, TF_OpDefinitionBuilderSetShapeInferenceFunction,                             \
           (OpBuilder *, void (*)(ShapeContext *, Status *)))                                 \
  FUNCTION(void, TF_RegisterOpDefinition, (OpBuilder *, Status *))                            \
  FUNCTION(void, TF_ShapeInferenceContextSetUnknownShape, (ShapeContext *, Status *))         \
  FUNCTION(KernelBuilder *, TF_NewKernelBuilder,                                              \
           (const char *, const char *, void *(*)(Construction *),                            \
            void (*)(void *, Context *), void (*)(void *)))                                   \
  FUNCTION(void, TF_RegisterKernelBuilder, (const char *, KernelBuilder *, Status *))         \
  FUNCTION(void, TF_OpKernelConstruction_GetAttrInt64,                                        \
           (Construction *, const char *, int64_t *, Status *))                               \
  FUNCTION(void, TF_OpKernelConstruction_Failure, (Construction *, Status *))                 \
  FUNCTION(void, TF_OpKernelContext_Failure, (Context *, Status *))                           \
  FUNCTION(void, TF_GetInput, (Context *, int, Tensor **, Status *))                          \
  FUNCTION(Tensor *, TF_AllocateOutput,                                                       \
           (Context *, int, int, const int64_t *, int, size_t, Status *))                     \
  FUNCTION(void, TF_DeleteTensor, (Tensor *))                                                 \
  FUNCTION(int, TF_NumDims, (const Tensor *))                                                 \
  FUNCTION(int64_t, TF_Dim, (const Tensor *, int))                                            \
  FUNCTION(void *, TF_TensorData, (const Tensor *))

#define DECLARE(result, name, arguments) result(*name) arguments;
FUNCTIONS(DECLARE)
#undef DECLARE

bool find_functions() {
#if defined(__APPLE__)
  void *library = dlopen("libtensorflow_framework.2.dylib", RTLD_NOLOAD | RTLD_LAZY);
#else
  void *library = dlopen("libtensorflow_framework.so.2", RTLD_NOLOAD | RTLD_LAZY);
#endif
  if (!library) return false;
#define FIND(result, name, arguments)                                       \
  name = reinterpret_cast<result(*) arguments>(dlsym(library, #name)); \
  if (!name) return false;
  FUNCTIONS(FIND)
#undef FIND
  return true;
}

struct Settings {
  int64_t values[3];  // see rnn_topologies_forward
  int64_t keep;
};

constexpr const char *ATTRIBUTES[] = {"cell", "reverse", "threads", "keep"};
constexpr const char *SPECIFICATIONS[] = {"cell: int", "reverse: int", "threads: int",
                                          "keep: int"};

void *create(Construction *construction) {
  Settings *settings = new Settings();
  Status *status = TF_NewStatus();
  for (int i = 0; i < 4 && TF_GetCode(status) == OK; i++)
    TF_OpKernelConstruction_GetAttrInt64(construction, ATTRIBUTES[i],
                                         i < 3 ? &settings->values[i] : &settings->keep, status);
  if (TF_GetCode(status) != OK) TF_OpKernelConstruction_Failure(construction, status);
  TF_DeleteStatus(status);
  return settings;
}

void destroy(void *settings) { delete static_cast<Settings *>(settings); }

constexpr int MAX_TENSORS = 12;  // inputs or outputs

// The tensors of one call, released at its end.
struct Call {
  Context *context;
  Status *status = TF_NewStatus();
  Tensor *tensors[2 * MAX_TENSORS] = {};
  int count = 0;
  RnnArray inputs[MAX_TENSORS] = {}, outputs[MAX_TENSORS] = {};
  const char *error = nullptr;

  explicit Call(Context *context) : context(context) {}

  ~Call() {
    if (error) TF_SetStatus(status, INVALID_ARGUMENT, error);
    if (TF_GetCode(status) != OK) TF_OpKernelContext_Failure(context, status);
    for (int i = 0; i < count; i++) TF_DeleteTensor(tensors[i]);
    TF_DeleteStatus(status);
  }

  bool ok() const { return !error && TF_GetCode(status) == OK; }

  void hold(Tensor *tensor, RnnArray *array) {
    tensors[count++] = tensor;
    array->rank = TF_NumDims(tensor);
    if (array->rank > 3) {
      error = "an array has more than three axes";
      return;
    }
    for (int axis = 0; axis < array->rank; axis++) array->sizes[axis] = TF_Dim(tensor, axis);
    array->data = TF_TensorData(tensor);
  }

  void read_inputs(int number) {
    for (int i = 0; i < number && ok(); i++) {
      Tensor *tensor = nullptr;
      TF_GetInput(context, i, &tensor, status);
      if (ok()) hold(tensor, &inputs[i]);
    }
  }

  void allocate_output(int index, int64_t rank, const int64_t *sizes) {
    if (!ok()) return;
    size_t bytes = sizeof(float);
    for (int64_t axis = 0; axis < rank; axis++) bytes *= size_t(sizes[axis]);
    Tensor *tensor = TF_AllocateOutput(context, index, FLOAT, sizes, int(rank), bytes, status);
    if (ok()) hold(tensor, &outputs[index]);
  }
};

void forward(void *kernel, Context *context) {
  const Settings &settings = *static_cast<Settings *>(kernel);
  Call call(context);
  call.read_inputs(7);
  if (!call.ok()) return;
  const RnnArray &x = call.inputs[0], &h0 = call.inputs[2], &c0 = call.inputs[3];
  if (x.rank != 3 || h0.rank != 2 || settings.values[0] < 0 || settings.values[0] > 3) {
    call.error = "x must be (batch, time, features), h0 (batch, units)";
    return;
  }
  const int64_t y[] = {x.sizes[0], x.sizes[1], h0.sizes[1]};
  const int64_t reserve =
      settings.keep ? rnn_topologies_reserve(settings.values[0], y[0], y[1], y[2]) : 0;
  call.allocate_output(0, 3, y);
  call.allocate_output(1, 2, h0.sizes);
  call.allocate_output(2, c0.rank, c0.sizes);
  call.allocate_output(3, 1, &reserve);
  if (call.ok()) call.error = rnn_topologies_forward(settings.values, call.inputs, call.outputs);
}

void backward(void *kernel, Context *context) {
  const Settings &settings = *static_cast<Settings *>(kernel);
  Call call(context);
  call.read_inputs(12);
  for (int i = 0; i < 6; i++) {
    const RnnArray &input = call.inputs[i ? i + 1 : 0];  // the mask, inputs[1], has no gradient
    call.allocate_output(i, input.rank, input.sizes);
  }
  if (call.ok()) call.error = rnn_topologies_backward(settings.values, call.inputs, call.outputs);
}

void unknown_shapes(ShapeContext *context, Status *status) {
  TF_ShapeInferenceContextSetUnknownShape(context, status);
}

template <int INPUTS, int OUTPUTS>
bool register_operation(const char *name, const char *const (&inputs)[INPUTS],
                        const char *const (&outputs)[OUTPUTS],
                        void (*compute)(void *, Context *)) {
  Status *status = TF_NewStatus();
  OpBuilder *op = TF_NewOpDefinitionBuilder(name);
  for (const char *attribute : SPECIFICATIONS) TF_OpDefinitionBuilderAddAttr(op, attribute);
  for (const char *input : inputs) TF_OpDefinitionBuilderAddInput(op, input);
  for (const char *output : outputs) TF_OpDefinitionBuilderAddOutput(op, output);
  TF_OpDefinitionBuilderSetShapeInferenceFunction(op, unknown_shapes);
  TF_RegisterOpDefinition(op, status);
  if (TF_GetCode(status) == OK)
    TF_RegisterKernelBuilder(name, TF_NewKernelBuilder(name, "CPU", create, compute, destroy),
                             status);
  const bool succeeded = TF_GetCode(status) == OK;
  TF_DeleteStatus(status);
  return succeeded;
}

bool register_operations() {
  return find_functions() &&
         register_operation(
             "RnnTopologies>Forward",
             {"x: float", "mask: bool", "h0: float", "c0: float", "kernel: float",
              "recurrent: float", "bias: float"},
             {"y: float", "h: float", "c: float", "reserve: float"}, forward) &&
         register_operation(
             "RnnTopologies>Backward",
             {"x: float", "mask: bool", "h0: float", "c0: float", "kernel: float",
              "recurrent: float", "bias: float", "y: float", "reserve: float", "dy: float",
              "dh: float", "dc: float"},
             {"dx: float", "dh0: float", "dc0: float", "dkernel: float", "drecurrent: float",
              "dbias: float"},
             backward);
}

[[maybe_unused]] const bool registered = register_operations();

}  // namespace
