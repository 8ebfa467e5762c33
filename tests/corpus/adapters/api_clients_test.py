KUBERNETES = '''
class TeaV1Api:
    """TeaV1Api"""

    def create_tea(
        self,
        body: Annotated[V1Tea, Field(description="It (is) tea")],
        _headers: Optional[Dict[StrictStr, Any]] = None,
    ) -> V1Tea:
        """create_tea

        create a Tea

        :param body: what to brew (required)
        :type body: V1Tea
        :param dry_run: if true,
                        no tea
        :type dry_run: str, optional
        :param _headers: not shown
        :type _headers: dict, optional
        :return: Returns the result object.
        """ # noqa: E501
        pass

    def create_tea_with_http_info(
        self,
    ) -> V1Tea:
        """create_tea

        the same again
        """
'''
PYDO = '''
class CupsOperations:

    @overload
    def fill(
        self,
        body: JSON,
        **kwargs: Any,
    ) -> JSON:
        # pylint: disable=line-too-long
        """Fill a Cup.

        With ``tea``.

        :param body: Required.
        :type body: JSON
        :keyword size: The size. Default value is 20.
        :paramtype size: int
        :return: JSON object
        :rtype: JSON

        Example:
            .. code-block:: python

                body = {
                    "kind": "str"
                }
                # response body for status code(s): 201
                response == {}
                # response body for status code(s): 404
                response == {"id": "str"}
        """

    @overload
    def fill(
        self,
        body: IO[bytes],
    ) -> JSON:
        """Fill a Cup.

        Again.
        """

    def spill(self) -> None:
        """."""
'''


def test_a_kubernetes_method_becomes_a_page(read):
  (found,) = read(
    'kubernetes_docs', {'kubernetes/client/api/tea_v1_api.py': KUBERNETES}
  )
  assert found.id == (
    'kubernetes_docs/kubernetes-tea/kubernetes.TeaV1Api.create_tea'
  )
  assert found.text == (
    '**API: kubernetes.TeaV1Api.create_tea**\n\ncreate a Tea\n\n'
    '**Parameters**\n\n'
    '- body (V1Tea, required): what to brew\n'
    '- dry_run (str, optional): if true, no tea\n\n'
    '**Returns**\n\nReturns the result object.'
  )


def test_a_digitalocean_method_becomes_a_page_of_its_first_overload(read):
  found, drop = read('pydo_docs', {'pydo/operations/_operations.py': PYDO})
  assert found.id == 'pydo_docs/digitalocean-cups/digitalocean.cups.fill'
  assert found.text == (
    '**API: digitalocean.cups.fill**\n\nFill a Cup.\n\nWith `tea`.\n\n'
    '**Parameters**\n\n'
    '- body (JSON, required)\n'
    '- size (int, optional): The size. Default: 20.\n\n'
    '**Returns**\n\nJSON object\n\n'
    '**Example**\n\n```python\nbody = {\n    "kind": "str"\n}\n'
    '# response body for status code(s): 201\nresponse == {}\n```'
  )
  assert drop.reason == 'no_description'
