/* Which backend has which activations, and what is said where the processor has no bf16: oneDNN is held to AVX2, as an older processor would. */
#include "anyclass/model.h"
#include "anyclass/plan.h"
#include "tests/tap.h"
#include <dnnl.h>
#include <string.h>

static ac_status plan_network(ac_device *device, ac_dtype activations)
{
    ac_status status = AC_OK;
    ac_network network = {0};
    ac_params *params = NULL;
    ac_plan *plan = NULL;
    ac_network_options o = {.model = ac_model_find("resnet18"), .batch = 1, .image_size_px = 32, .n_classes = 2, .mean = {.5f, .5f, .5f},
                            .std = {.25f, .25f, .25f}, .activation_dtype = activations};
    AC_TRY(ac_network_build(&o, &network));
    AC_TRY(ac_params_create(device, network.graph, false, &params));
    AC_TRY(ac_plan_create(network.graph, params, false, &plan));
out:
    ac_plan_destroy(plan);
    ac_params_destroy(params);
    ac_network_release(&network);
    return status;
}

int main(void)
{
    ac_device *cpu, *ref;
    if (dnnl_set_max_cpu_isa(dnnl_cpu_isa_avx2) != dnnl_success) {
        TAP_SKIP("this oneDNN cannot be held to AVX2");
        return tap_done();
    }
    if (!TAP_CALL(ac_backend_find("cpu")->open(1, &cpu)) || !TAP_CALL(ac_backend_find("ref")->open(1, &ref)))
        return tap_done();
    TAP_CALL(cpu->backend->check_precision(cpu, AC_F32));
    TAP_CALL(ref->backend->check_precision(ref, AC_F32));
    TAP_CALL(ref->backend->check_precision(ref, AC_BF16));
    TAP_CALL(ref->backend->check_precision(ref, AC_F16));
    TAP_OK(ref->backend->check_precision(ref, AC_F64) == AC_ERR_UNSUPPORTED, "ref has no f64: %s", ac_error_text());
    TAP_OK(cpu->backend->check_precision(cpu, AC_F16) == AC_ERR_UNSUPPORTED, "cpu has no f16: %s", ac_error_text());
    TAP_OK(cpu->backend->check_precision(cpu, AC_BF16) == AC_ERR_UNSUPPORTED && strstr(ac_error_text(), "AVX-512"), "no bf16 without AVX-512: %s",
           ac_error_text());
    TAP_CALL(plan_network(cpu, AC_F32));
    TAP_CALL(plan_network(ref, AC_BF16));
    TAP_CALL(plan_network(ref, AC_F16));
    TAP_OK(plan_network(cpu, AC_F16) == AC_ERR_UNSUPPORTED && strstr(ac_error_text(), "f16"), "no plan in f16 on cpu: %s", ac_error_text());
    TAP_OK(plan_network(cpu, AC_BF16) == AC_ERR_UNSUPPORTED && strstr(ac_error_text(), "AVX-512"), "nor a plan: %s", ac_error_text());
    cpu->backend->close(cpu);
    ref->backend->close(ref);
    return tap_done();
}
